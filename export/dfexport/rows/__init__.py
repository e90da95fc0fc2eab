"""The registry's rows: a file for each architecture, named like its file in `dfexport.detectors`."""
