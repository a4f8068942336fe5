'use strict';
(() => {
  const text = (part, selector) => [...part.querySelectorAll(selector)].map((e) => e.textContent).join(' ').toLowerCase();
  const bars = new Map([...document.querySelectorAll('tr.strip a')].map((bar) => [bar.getAttribute('href').slice(1), bar]));
  const rows = [...document.querySelectorAll('tr[data-kinds]')].map((row) => ({
    row,
    group: row.closest('tbody.user'),
    bar: bars.get(row.id),
    user: text(row.closest('tbody.user') ?? row, '.user'),
    actor: text(row, '.by'),
    kinds: row.dataset.kinds.split(' '),
    paged: row.dataset.paged,
  }));
  const form = document.getElementById('filter');
  const status = document.getElementById('shown');
  const columns = [...document.querySelectorAll('rect[data-day]')];
  const days = [...document.querySelectorAll('tr[data-day]')];
  const most = Math.max(1, ...columns.map((c) => Number(c.dataset.n)));
  const filter = () => {
    const user = form.elements.user.value.trim().toLowerCase();
    const actor = form.elements.actor.value.trim().toLowerCase();
    const kind = form.elements.kind.value;
    const groups = new Set();
    const pages = new Map();
    let shown = 0;
    for (const r of rows) {
      const hit = r.user.includes(user) && r.actor.includes(actor) && (!kind || r.kinds.includes(kind));
      r.row.hidden = !hit;
      if (r.bar) r.bar.style.display = hit ? '' : 'none';
      if (!hit) continue;
      shown++;
      if (r.group) groups.add(r.group);
      if (r.paged) pages.set(r.paged, (pages.get(r.paged) ?? 0) + 1);
    }
    for (const group of document.querySelectorAll('tbody.user')) group.hidden = !groups.has(group);
    for (const part of document.querySelectorAll('.part')) part.hidden = !part.querySelector('tr[data-kinds]:not([hidden])');
    for (const row of days) {
      const n = pages.get(row.dataset.day) ?? 0;
      row.hidden = n === 0;
      row.querySelector('.n').textContent = n;
      row.querySelector('.what').hidden = n !== Number(row.dataset.n);
    }
    for (const column of columns) {
      let n = 0;
      for (const [day, count] of pages) if (day.startsWith(column.dataset.day)) n += count;
      const height = Math.ceil(n * 160 / most);
      column.setAttribute('height', height);
      column.setAttribute('y', 180 - height);
      column.nextElementSibling.textContent = n || '';
      column.nextElementSibling.setAttribute('y', 176 - height);
    }
    const asked = [['user', user], ['actor', actor], ['kind', kind]].filter(([, value]) => value).map(([name, value]) => `${name} “${value}”`);
    status.textContent = asked.length ? `Only ${asked.join(', ')}: ${shown} of ${rows.length} shown. The sums above are of all.` : '';
  };
  form.hidden = false;
  form.addEventListener('input', filter);
  form.addEventListener('reset', () => setTimeout(filter));
  form.addEventListener('submit', (event) => event.preventDefault());
})();
