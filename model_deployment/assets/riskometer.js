/* The drop zone: posts each file to the API, as an integrator does, and passes the answer to Dash. */
(function () {
  "use strict";

  const sent = new Map(); // the file of each batch: its other columns are kept nowhere else
  let queue = Promise.resolve(); // one file at a time, in order
  const zone = () => document.getElementById("drop");

  function sizeText(size) {
    return size < 1e6 ? Math.ceil(size / 1000) + " kB" : (size / 1e6).toFixed(1).replace(/\.0$/, "") + " MB";
  }

  function element(tag, text, className) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  /* One line of the list of uploads: name, size, progress, state. */
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

  function formOf(file) {
    const form = new FormData();
    form.append("file", file, file.name);
    return form;
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
      request.open("POST", "api/v1/files?decisions=none");
      request.responseType = "json";
      request.send(formOf(file));
    });
  }

  /* Adds a result to those to choose from, as the first one, and chooses it. */
  function choice(text, data) {
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "results";
    radio.addEventListener("click", () => window.dash_clientside.set_props("shown", { data }));
    const label = element("label", "");
    label.append(radio, text);
    document.getElementById("files").prepend(label);
    radio.click();
  }

  /* The rejected rows of an answer as a file: a workbook, or a CSV with a byte order mark, which
     tells spreadsheets that it is UTF-8. */
  function rejected(answer) {
    if (answer.rejected_xlsx) {
      const bytes = Uint8Array.from(atob(answer.rejected_xlsx), (letter) => letter.charCodeAt(0));
      return new Blob([bytes], { type: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" });
    }
    return answer.rejected_csv && new Blob(["\ufeff", answer.rejected_csv], { type: "text/csv;charset=utf-8" });
  }

  function show(file, answer) {
    const again = rejected(answer);
    const form = answer.rejected_xlsx ? "xlsx" : "csv";
    delete answer.rejected_csv;
    delete answer.rejected_xlsx;
    sent.set(answer.batch, file);
    choice(file.name + ", " + new Date().toLocaleTimeString(), {
      name: file.name,
      rejected_url: again && URL.createObjectURL(again),
      rejected_form: form,
      answer,
    });
    document.getElementById("spoken").textContent =
      file.name + ": " + answer.n_decided + " decided, " + answer.n_rejected + " rejected";
  }

  /* A copy: the file on disk may be changed or gone by the time its result is downloaded. */
  function kept(file) {
    return file.arrayBuffer().then(
      (bytes) => new File([bytes], file.name),
      () => file
    );
  }

  /* The result, with the other columns of the file if the file is still at hand. */
  async function download(link) {
    const file = sent.get(link.dataset.batch);
    const say = (children) => window.dash_clientside.set_props("download-trouble", { children });
    if (link.classList.contains("busy")) return;
    link.classList.add("busy");
    say("");
    try {
      const answer = await fetch(link.href, file ? { method: "POST", body: formOf(file) } : {});
      if (!answer.ok) throw new Error((await answer.json()).detail);
      const made = document.createElement("a");
      made.href = URL.createObjectURL(await answer.blob());
      made.download = link.download;
      made.click();
      setTimeout(() => URL.revokeObjectURL(made.href), 60000);
    } catch (error) {
      // Other errors have messages for programmers: the connection was lost, or a proxy answered.
      say(error.constructor === Error ? error.message : "No answer came. Try again.");
    }
    link.classList.remove("busy");
  }

  function add(files) {
    if (!zone()) return; // only who may decide has one
    if (document.body.dataset.view !== "files") document.getElementById("to-files").click();
    const limit = Number(zone().dataset.limit);
    for (const file of files) {
      const shown = line(file);
      if (file.size > limit) {
        shown.failed("has " + sizeText(file.size) + "; the limit is " + sizeText(limit) + ". Send it in parts.");
      } else {
        queue = queue.then(() => kept(file)).then((copy) => send(copy, shown));
      }
    }
  }

  const hasFiles = (event) => event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");
  const over = (on) => zone() && zone().classList.toggle("over", on);

  document.addEventListener("click", (event) => {
    if (event.target.id === "choose") document.getElementById("file-input").click();
    const link = event.target.closest("a[data-batch]");
    if (link) {
      event.preventDefault();
      download(link);
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "file-input") return;
    add(Array.from(event.target.files));
    event.target.value = ""; // otherwise the same file could not be chosen again
  });
  // The whole page takes a drop: after a near miss the browser would open the file instead.
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

  window.dashAgGridFunctions = Object.assign({}, window.dashAgGridFunctions, {
    /* A bar behind the figure, as long as the risk. */
    riskMeter: (params) => ({
      backgroundImage: "linear-gradient(90deg, var(--meter) " + 100 * params.value + "%, transparent 0)",
    }),
  });
})();
