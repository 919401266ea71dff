/* The drop zone: posts each file to the API, as an integrator would, and hands the answer to Dash. */
(function () {
  "use strict";

  const results = new Map(); // what the page shows of each upload, by key
  const options = []; // the same as choices, the newest first
  let queue = Promise.resolve(); // one file at a time, in order
  let uploads = 0;

  function sizeText(size) {
    return size < 1e6 ? Math.ceil(size / 1000) + " kB" : (size / 1e6).toFixed(1).replace(/\.0$/, "") + " MB";
  }

  function element(tag, text, className) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  /* One line of the list of uploads: name, size, progress, what happens. */
  function line(file) {
    const item = element("div", "", "transfer");
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", "Upload of " + file.name);
    const state = element("span", "waiting", "state");
    item.append(element("strong", file.name), element("span", sizeText(file.size), "size"), bar, state);
    document.getElementById("transfers").append(item);
    return {
      progress(share) {
        bar.value = share;
        state.textContent = Math.floor(share * 100) + " %";
      },
      deciding() {
        bar.removeAttribute("value");
        state.textContent = "deciding";
      },
      failed(message) {
        bar.remove();
        state.textContent = message;
        state.setAttribute("role", "alert");
        item.classList.add("failed");
        const close = element("button", "Dismiss", "quiet");
        close.type = "button";
        close.addEventListener("click", () => item.remove());
        item.append(close);
      },
      remove() {
        item.remove();
      },
    };
  }

  function send(file, shown) {
    return new Promise((done) => {
      const request = new XMLHttpRequest();
      request.upload.addEventListener("progress", (e) => e.lengthComputable && shown.progress(e.loaded / e.total));
      request.upload.addEventListener("load", () => shown.deciding());
      request.addEventListener("load", () => {
        const answer = request.response;
        if (answer && answer.batch) {
          shown.remove();
          show(file, answer);
        } else {
          shown.failed((answer && answer.detail) || "The server answered with status " + request.status + ".");
        }
        done();
      });
      request.addEventListener("error", () => {
        shown.failed("No answer came. The file may have been changed or the connection lost; try again.");
        done();
      });
      request.open("POST", "api/v1/files?decisions=csv");
      request.responseType = "json";
      const form = new FormData();
      form.append("file", file);
      request.send(form);
    });
  }

  function show(file, answer) {
    const key = String((uploads += 1));
    const csv = answer.n_decided ? new Blob(["\ufeff", answer.decisions], { type: "text/csv;charset=utf-8" }) : null;
    const again = answer.rejected_csv && new Blob(["\ufeff", answer.rejected_csv], { type: "text/csv;charset=utf-8" });
    delete answer.decisions;
    delete answer.rejected_csv;
    const urls = { url: csv && URL.createObjectURL(csv), rejected_url: again && URL.createObjectURL(again) };
    results.set(key, { name: file.name, ...urls, answer });
    options.unshift({ label: file.name + ", " + new Date().toLocaleTimeString(), value: key });
    document.getElementById("spoken").textContent =
      file.name + ": " + answer.n_decided + " decided, " + answer.n_rejected + " rejected";
    window.dash_clientside.set_props("files", { options: options.slice(), value: key });
  }

  function add(files) {
    const limit = Number(document.getElementById("drop").dataset.limit);
    for (const file of files) {
      const shown = line(file);
      if (file.size > limit) {
        shown.failed("has " + sizeText(file.size) + "; the limit is " + sizeText(limit) + ". Send it in parts.");
      } else {
        queue = queue.then(() => send(file, shown));
      }
    }
  }

  const hasFiles = (event) => event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");
  const over = (on) => document.getElementById("drop").classList.toggle("over", on);

  document.addEventListener("click", (event) => {
    if (event.target.id === "choose") document.getElementById("file-input").click();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "file-input") return;
    add(Array.from(event.target.files));
    event.target.value = ""; // or the same file could not be chosen again
  });
  // The whole page takes a drop: a near miss must not make the browser leave for the file.
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false);
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    over(false);
    add(Array.from(event.dataTransfer.files));
  });

  document.addEventListener("keydown", (event) => {
    const close = document.getElementById("panel-close");
    if (event.key === "Escape" && close) close.click();
  });

  window.dashAgGridFunctions = Object.assign({}, window.dashAgGridFunctions, {
    /* A bar behind the figure, as long as the risk. */
    riskMeter: (params) => ({
      backgroundImage: "linear-gradient(90deg, var(--meter) " + 100 * params.value + "%, transparent 0)",
    }),
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    riskometer: { shown: (key) => results.get(key) || null },
  });
})();
