// Keeps the status page up to date without reloading it: fetches the same page
// again and patches what differs. The page is complete without this script.
(() => {
  'use strict';
  document.documentElement.classList.add('js');

  // timeout is how long an answer may take, in milliseconds: longer than the
  // exporter itself waits for lakeFS.
  const timeout = 15000;
  let page, form, interval, timer, current;
  let paused = false, offlineSince = '';

  const $ = (id) => document.getElementById(id);
  const rows = (root) => [...root.querySelectorAll('tr[data-state]')];

  // here returns the URL of this page with another query. It is made of parts,
  // because fetch takes no URL with a user name in it.
  const here = (search) => new URL(location.pathname + search, location.origin);

  // --- Times ---

  const local = (date) => date.toLocaleString('sv-SE'); // as in 2026-11-22 10:50:27

  // localize shows times in the viewer's zone: of another day with the date.
  function localize(root) {
    const now = new Date(root.querySelector('.asof time').dateTime);
    const today = local(now).slice(0, 10);
    for (const node of root.querySelectorAll('time.at')) {
      const text = local(new Date(node.dateTime));
      node.textContent = text.startsWith(today) ? text.slice(11) : text.slice(0, 16);
    }
    const zone = new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(now).find((p) => p.type === 'timeZoneName');
    for (const node of root.querySelectorAll('.zone')) node.textContent = zone.value;
  }

  // --- Patching ---

  const key = (node) => (node.nodeType === Node.ELEMENT_NODE && node.dataset.key) || '';

  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

  // patch makes the node old like next. It keeps what the person is using: the
  // field that has the focus, and what is folded or unfolded.
  function patch(old, next) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== next.data) old.data = next.data;
      return;
    }
    if (old.hasAttribute('data-keep') || old.isEqualNode(next)) return;
    if (old === document.activeElement && old.matches('input, select')) return;
    for (const { name, value } of next.attributes) {
      if (old.getAttribute(name) !== value && name !== 'open') old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!next.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
    }
    patchChildren(old, next);
  }

  function patchChildren(old, next) {
    const wanted = new Set([...next.children].map(key));
    const keyed = new Map();
    for (const child of [...old.children]) {
      if (!key(child)) continue;
      if (wanted.has(key(child))) keyed.set(key(child), child);
      else child.remove();
    }
    let at = old.firstChild;
    for (const child of [...next.childNodes]) {
      const match = key(child) ? keyed.get(key(child)) : at && same(at, child) && at;
      if (!match || !same(match, child)) {
        old.insertBefore(document.importNode(child, true), at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else if (old.moveBefore) old.moveBefore(match, at);
      else old.insertBefore(match, at);
      patch(match, child);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  // show patches the page to be like next, without moving what is looked at.
  function show(next, keepScroll) {
    const states = new Map(rows(next).map((row) => [row.dataset.key, row.dataset.state]));
    // Something that stays where it is, relative to the others.
    const anchor = keepScroll && scrollY > 0 && rows(page).find((row) =>
      row.getBoundingClientRect().bottom > 0 && states.get(row.dataset.key) === row.dataset.state);
    const top = anchor && anchor.getBoundingClientRect().top;
    const focused = document.activeElement;
    for (const part of ['header', 'main', 'footer']) patch(document.querySelector(part), next.querySelector(part));
    if (focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    if (anchor && anchor.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - top);
    document.title = next.title;
    form = $('filter');
  }

  // --- Announcements ---

  // announce has a screen reader say what changed.
  function announce(text) {
    $('news').textContent = text;
  }

  // changes compares two pages: which imports are in another state now.
  function changes(before) {
    const changed = [];
    for (const row of rows(page)) {
      const was = before.get(row.dataset.key);
      if (!was || was === row.dataset.state) continue;
      row.classList.add('changed'); // until the next patch
      changed.push(`${row.dataset.name} was ${was} and is ${row.dataset.state}.`.replaceAll('not_found', 'not found'));
    }
    if (changed.length > 3) changed.splice(3, Infinity, `${changed.length - 3} more changed.`);
    return changed;
  }

  // copy copies the import ID beside a button. Only pages that are served over
  // HTTPS have a clipboard.
  async function copy(button) {
    const id = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(id.textContent);
    } catch {
      getSelection().selectAllChildren(id);
      document.execCommand('copy');
    }
    button.classList.add('copied');
    setTimeout(() => button.classList.remove('copied'), 2000);
    announce('Copied the import ID.');
  }

  function showOffline(reason) {
    document.body.classList.add('stale');
    if (!offlineSince) offlineSince = page.querySelector('.asof time').textContent;
    const text = `No connection to the exporter: ${reason}. This page shows the state at ${offlineSince}.` + (paused ? '' : ' Retrying…');
    const box = $('offline');
    if (box.textContent !== text) box.textContent = text; // announced once, not at every attempt
    box.hidden = false;
    document.title = 'Offline – ' + document.title.replace(/^Offline – /, '');
  }

  function showOnline() {
    if (!offlineSince) return;
    offlineSince = '';
    document.body.classList.remove('stale');
    $('offline').hidden = true;
    $('offline').textContent = '';
    announce('Connected to the exporter again.');
  }

  // --- Loading ---

  // load fetches the page at url and shows it. why is "refresh", or what the
  // person did: "type", "choose", "follow" or "back".
  async function load(url, why) {
    clearTimeout(timer);
    if (current) current.abort();
    const mine = current = new AbortController();
    const limit = setTimeout(() => mine.abort(), timeout);
    try {
      const answer = await fetch(url, { cache: 'no-store', signal: mine.signal });
      const body = await answer.text();
      if (mine !== current) return;
      if (!answer.ok) throw new Error(`HTTP status ${answer.status}`);
      const next = new DOMParser().parseFromString(body, 'text/html');
      if (!next.getElementById('page')) throw new Error('the answer is not the status page');
      const script = 'head script';
      if (next.querySelector(script).getAttribute('src') !== document.querySelector(script).getAttribute('src')) {
        location.reload(); // another version of the exporter
        return;
      }
      showOnline();
      localize(next);
      update(next, why);
    } catch (err) {
      if (mine !== current) return;
      if (err.name === 'AbortError') showOffline('timeout');
      else showOffline(err instanceof TypeError ? 'network error' : err.message);
    } finally {
      clearTimeout(limit);
      if (mine === current) schedule();
    }
  }

  function update(next, why) {
    const search = next.getElementById('self').search; // without what is empty or the default
    if (why !== 'back' && search !== location.search) {
      history[why === 'type' || why === 'refresh' ? 'replaceState' : 'pushState'](null, '', location.pathname + search);
    }
    const before = new Map(rows(page).map((row) => [row.dataset.key, row.dataset.state]));
    const headline = $('headline').textContent;
    show(next, why === 'refresh');
    sync(next, why);
    if (why !== 'refresh') {
      announce($('results').textContent);
      return;
    }
    const news = changes(before);
    if ($('headline').textContent !== headline) news.push($('headline').textContent + '.');
    if (news.length) announce(news.join(' '));
  }

  // sync makes the fields show the active filters, except for the one in use.
  function sync(next, why) {
    const fresh = next.getElementById('filter');
    if (!form || !fresh) return;
    for (const field of form.elements) {
      const other = field.name && fresh.elements[field.name];
      if (!other || field.type === 'hidden') continue;
      const inUse = field === document.activeElement && (why === 'refresh' || field.nodeName === 'INPUT');
      if (why === 'back' || !inUse) field.value = other.value;
    }
  }

  function schedule() {
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(refresh, interval);
  }

  function refresh() {
    load(here(location.search), 'refresh');
  }

  function filter(why) {
    load(here('?' + new URLSearchParams(new FormData(form))), why);
  }

  // --- Events ---

  document.addEventListener('DOMContentLoaded', () => {
    page = $('page');
    form = $('filter');
    interval = Number(document.body.dataset.refresh);
    localize(document);
    // The script keeps the scroll position itself, in all browsers.
    document.documentElement.style.overflowAnchor = 'none';

    document.addEventListener('input', (event) => {
      if (event.target.form !== form || event.target.nodeName !== 'INPUT') return;
      clearTimeout(timer);
      if (current) current.abort();
      current = null;
      timer = setTimeout(filter, 250, 'type');
    });
    document.addEventListener('change', (event) => {
      if (event.target.form === form && event.target.nodeName === 'SELECT') filter('choose');
    });
    document.addEventListener('submit', (event) => {
      if (event.target !== form) return;
      event.preventDefault();
      filter('choose');
    });
    document.addEventListener('click', (event) => {
      const button = event.target.closest('.copy');
      if (button) copy(button);
      const link = event.target.closest('a[href]');
      if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      if (link.host !== location.host || link.pathname !== location.pathname || link.hash) return;
      event.preventDefault();
      const paging = link.closest('.pages');
      load(here(link.search), 'follow').then(() => {
        if (paging) $('results').scrollIntoView();
        // The link may be gone, and with it the focus.
        if (paging || document.activeElement === document.body) $('results').focus({ preventScroll: true });
      });
    });
    addEventListener('popstate', () => load(here(location.search), 'back'));

    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && !paused) refresh();
      else schedule();
    });
    const pause = $('pause'), pace = $('pace'), running = pace.textContent;
    pause.addEventListener('click', () => {
      paused = !paused;
      pause.textContent = paused ? 'Resume' : 'Pause';
      pace.textContent = paused ? 'updates paused' : running;
      if (paused) schedule();
      else refresh();
    });
    schedule();
  });
})();
