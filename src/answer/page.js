
(() => {
  const box = document.querySelector("input[type=search]"), output = document.querySelector("output");
  // What the server left out cannot be shown again: that takes another page.
  const known = box.defaultValue.toLowerCase();
  let rows, names, timer;
  const show = (text, most) => {
    let count = 0;
    rows.forEach((row, number) => {
      const found = names[number].includes(text), hidden = !found || count >= most;
      count += found;
      if (row.hidden !== hidden) row.hidden = hidden;
    });
    const few = count > most ? `, the first ${most} are shown` : "";
    output.textContent = text === known ? "" : `${count || "None"} of ${rows.length} match${few}`;
  };
  const filter = () => {
    rows ??= [...document.querySelectorAll("tbody tr:not(.up, .none)")];
    names ??= rows.map(row => row.querySelector("bdi").textContent.toLowerCase());
    const text = box.value.toLowerCase();
    if (!text.includes(known)) {
      output.textContent = "Enter searches the whole folder";
      return;
    }
    // To lay out very many rows takes a while: nobody reads them all while typing.
    show(text, 500);
    if (text === known) timer = setTimeout(show, 500, text, Infinity);
  };
  // Not for each letter of who types fast.
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 80); });
  if (box.value !== box.defaultValue) filter();
})();
