/** The page's only script: opens, sorts and filters what is there already. Without it everything is shown, in order. */
export const SCRIPT = `
'use strict';
document.documentElement.classList.add('scripted');
for (const button of document.querySelectorAll('button.open')) {
  const detail = document.getElementById(button.getAttribute('aria-controls'));
  const show = (open) => {
    button.setAttribute('aria-expanded', String(open));
    detail.hidden = !open;
  };
  show(false);
  button.addEventListener('click', () => show(detail.hidden));
}
for (const button of document.querySelectorAll('button.copy')) {
  button.addEventListener('click', async () => {
    const text = button.previousElementSibling.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      // A page from a file may not use the clipboard: then the text is marked for Ctrl-C.
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = 'Press Ctrl-C';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
}
const table = document.getElementById('client-table');
if (table) {
  const clients = [...table.tBodies];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const descending = head.getAttribute('aria-sort') === 'ascending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
      const key = (client) => client.rows[0].cells[column].dataset.sort;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const difference = Number(x) - Number(y);
        return Number.isNaN(difference) ? (x < y ? -1 : x > y ? 1 : 0) : difference;
      };
      const sorted = clients.slice().sort((a, b) => (descending ? -compare(a, b) : compare(a, b)));
      table.append(...sorted);
    });
  });
  const text = document.getElementById('filter-text');
  const impact = document.getElementById('filter-impact');
  const severity = document.getElementById('filter-severity');
  const count = document.getElementById('filter-count');
  const filter = () => {
    const words = text.value.toLowerCase().split(/\\s+/).filter(Boolean);
    let shown = 0;
    for (const client of clients) {
      const { search, impact: its, severity: how } = client.dataset;
      const fits = words.every((word) => search.includes(word)) &&
        (impact.value === '' || impact.value === its) && (severity.value === '' || severity.value === how);
      client.hidden = !fits;
      if (fits) shown++;
    }
    count.textContent = shown === clients.length
      ? shown + (shown === 1 ? ' client' : ' clients')
      : shown + ' of ' + clients.length + (clients.length === 1 ? ' client' : ' clients');
  };
  const form = document.getElementById('filters');
  form.addEventListener('input', filter);
  form.addEventListener('submit', (event) => event.preventDefault());
  // What a browser has kept of the fields over a reload.
  filter();
}
`;
