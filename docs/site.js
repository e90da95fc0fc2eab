// What scrolls sideways can be reached, and scrolled, by the keyboard: the theme wraps wide tables without that.
function reachable() {
  document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
}

window.addEventListener("load", reachable);
window.addEventListener("resize", reachable);
