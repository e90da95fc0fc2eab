"""A page where a person looks at a recording: what each detector of a Triton server says of it, along its time.

    dfpage --url 127.0.0.1:8001

settings    what the page serves and to whom
app         its addresses; `guard` decides who may ask, `uploads` takes files in, within limits
scoring     a recording's score as JSON, with what it means in words (`verdict`)
detectors   which detectors the server has, and how it is
hearing     the audio as the detectors hear it, and where speech is in it
live        scores while the microphone records
static/     the page itself: HTML, CSS and JavaScript modules, nothing from elsewhere
"""
