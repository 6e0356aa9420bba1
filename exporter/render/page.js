"use strict";
(() => {
  const PERIOD = 10000, PATIENCE = 8000;
  const note = document.getElementById("live");
  let answered = Date.now(), due = answered + PERIOD, failing = "", tag = null, skew = 0;

  const formatAge = seconds => {
    if (!seconds) return "just now";
    const length = Math.abs(seconds);
    const [unit, size] = length < 60 ? ["s", 1] : length < 3600 ? ["min", 60] : length < 86400 ? ["h", 3600] : ["d", 86400];
    const text = `${Math.floor(length / size)} ${unit}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  };

  // The server's clock: that of this machine may be wrong.
  const setClock = () => { skew = document.querySelector("main").dataset.now * 1000 - Date.now(); };

  const isSelected = node => {
    const selection = getSelection();
    return selection.type === "Range" && selection.containsNode(node, true);
  };

  const setText = (node, text) => { if (node.data !== text && !isSelected(node)) node.data = text; };

  const showAges = () => {
    const now = Math.floor((Date.now() + skew) / 1000);
    for (const hint of document.querySelectorAll("time small"))
      setText(hint.firstChild, formatAge(now - Date.parse(hint.parentNode.dateTime) / 1000));
  };

  // Changes only what differs: the selection, the focus and the scroll position stay. What a person has opened or
  // closed stays so until the server decides otherwise.
  const merge = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) return setText(old, fresh.data);
    const decided = old.hasAttribute("data-open") !== fresh.hasAttribute("data-open");
    for (const name of new Set([...old.getAttributeNames(), ...fresh.getAttributeNames()])) {
      const value = fresh.getAttribute(name);
      if (value === old.getAttribute(name) || name === "open" && !decided) continue;
      if (value === null) old.removeAttribute(name); else old.setAttribute(name, value);
    }
    const known = new Map([...old.children].filter(child => child.id).map(child => [child.id, child]));
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id ? known.get(child.id) : next && !next.id && next.nodeName === child.nodeName ? next : null;
      if (!same) { old.insertBefore(child, next); continue; }
      if (next !== same && next && next.nextElementSibling === same)  // it has moved down, or is gone
        while (next !== same) { const gone = next; next = next.nextSibling; gone.remove(); }
      if (next === same) next = next.nextSibling; else old.insertBefore(same, next);
      merge(same, child);
    }
    while (next) { const gone = next; next = next.nextSibling; gone.remove(); }
  };

  // The exporter does not know by which address this browser reaches it.
  const setAddress = page => {
    for (const code of page.querySelectorAll(".commands code"))
      code.textContent = code.textContent.replace("http://127.0.0.1:4584", location.origin);
  };

  const show = page => {
    const [style, icon] = ["style", "link"].map(name => page.querySelector(name));
    if (style.textContent !== document.querySelector("style").textContent) return location.reload();
    setAddress(page);
    for (const name of ["header", "main", "footer"]) merge(document.querySelector(name), page.querySelector(name));
    document.querySelector("link").href = icon.href;
    document.title = failing ? `${failing}: ${page.title}` : page.title;
    setClock();
  };

  // Why there is no update, at the front of the title; empty if there is one.
  const setFailing = text => {
    const title = document.title.slice(failing && failing.length + 2);
    document.title = text ? `${text}: ${title}` : title;
    failing = text;
  };

  const update = async () => {
    due = Infinity;
    try {
      const headers = tag ? { "If-None-Match": tag } : {};
      const response = await fetch(location.pathname + location.search,
        { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (response.status !== 304) {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        if (!response.ok || !page.querySelector("main[data-now]")) throw new Error("", { cause: response.status });
        show(page);
        tag = response.headers.get("ETag");
      }
      setFailing("");
      answered = Date.now();
    } catch ({ cause }) {  // the check is gone, or the password is wrong; the exporter starts, or is away
      setFailing(cause >= 400 && cause < 500 ? `error ${cause}` : "no response");
    }
    due = Date.now() + (failing ? PERIOD / 2 : PERIOD);
    tick();
  };

  const tick = () => {
    if (document.hidden) return;
    if (Date.now() >= due) update();
    const text = failing ? `${failing} for ${Math.round((Date.now() - answered) / 1000)} s` : `updates every ${PERIOD / 1000} s`;
    if (note.textContent !== text) note.textContent = text;
    note.className = failing ? "silent" : "";
    showAges();
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !failing) answered = Date.now();  // nobody has asked in the meantime
    tick();
  });
  setClock();
  setAddress(document);
  tick();
  setInterval(tick, 1000);
})();
