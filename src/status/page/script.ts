import { createHash } from 'node:crypto';

export const RENEW_S = 30;

/**
 * Updates the page in place, so that focus, scroll position, selection and opened tables are kept. Shows a message when the
 * server does not respond, and pauses while the page is hidden. Without scripts the page reloads itself.
 */
export const SCRIPT = `
'use strict';
const update = (old, fresh) => {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (name !== 'open' && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  const present = [...old.childNodes];
  const wanted = [...fresh.childNodes];
  wanted.forEach((child, i) => (present[i] ? update(present[i], child) : old.append(child)));
  present.slice(wanted.length).forEach((child) => child.remove());
};
let respondedAt = new Date();
const renew = async () => {
  if (document.hidden) return;
  try {
    // Not location.href: it may contain a password, with which fetch refuses.
    const response = await fetch(location.origin + location.pathname + location.search, { signal: AbortSignal.timeout(${RENEW_S / 2} * 1000) });
    if (!response.ok) throw new Error(response.statusText);
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
    if (fresh.querySelector('style').textContent !== document.querySelector('style').textContent) {
      location.reload();
      return;
    }
    document.title = fresh.title;
    update(document.querySelector('link[rel=icon]'), fresh.querySelector('link[rel=icon]'));
    update(document.body, fresh.body);
    respondedAt = new Date();
  } catch {
    const stale = document.getElementById('stale');
    const at = respondedAt.toISOString().slice(0, 19).replace('T', ' ');
    stale.textContent = 'The worker does not respond. This page shows the state of ' + at + ' UTC.';
    stale.hidden = false;
  }
};
document.addEventListener('click', async ({ target }) => {
  const button = target.closest('[data-copy]');
  if (!button) return;
  const text = document.getElementById(button.dataset.copy);
  getSelection().selectAllChildren(text);
  // Only with https or on this machine; otherwise the selected text can be copied by hand.
  await navigator.clipboard?.writeText(text.textContent);
  button.textContent = navigator.clipboard ? 'Copied' : 'Selected';
});
setInterval(renew, ${RENEW_S} * 1000);
document.addEventListener('visibilitychange', renew);
`;

/** The source expression of a Content-Security-Policy that allows only this script. */
export const SCRIPT_SOURCE = `'sha256-${createHash('sha256').update(SCRIPT).digest('base64')}'`;
