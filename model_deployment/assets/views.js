/* The views of the page, the panel of a decision, and the form of one client. */
(function () {
  "use strict";

  const TITLES = { files: "Risk-O-Meter", client: "One client", history: "History", decision: "Decision" };
  const WAIT_MS = 300; // after the last key, before a client is judged
  const PATIENCE_MS = 4000; // for an answer that takes no work
  const STUCK = 3; // checks in a row in which a table waits
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const byId = (id) => document.getElementById(id);
  const noUpdate = () => window.dash_clientside.no_update;

  function grid() {
    try {
      return window.dash_ag_grid.getApi("decisions");
    } catch (error) {
      return null; // no table is shown
    }
  }

  function close() {
    const table = grid();
    if (table) {
      table.deselectAll();
      const cell = table.getFocusedCell(); // where the panel was opened from
      if (cell) table.setFocusedCell(cell.rowIndex, cell.column);
    }
    set("open", { data: null });
  }

  /* What is typed into the form, as an application. */
  function application() {
    const fields = byId("application-form").querySelectorAll("input, select");
    return Object.fromEntries(Array.from(fields, (field) => [field.id.replace(/^a-/, ""), field.value]));
  }

  /* One key for what is typed, so that a button pressed twice takes one decision. */
  function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  let key = newKey();
  let waiting = 0;

  function judge(take) {
    clearTimeout(waiting);
    set("take", { disabled: true });
    set("application", { data: { application: application(), take, key } });
  }

  let stuck = 0; // checks in which a table waited for its rows
  let typed = ""; // what is judged, or will be in a moment

  function changed(event) {
    if (!event.target.closest("#application-form") || JSON.stringify(application()) === typed) return;
    typed = JSON.stringify(application());
    key = newKey();
    set("take", { disabled: true }); // what is shown is not what is typed
    clearTimeout(waiting);
    waiting = setTimeout(() => judge(false), WAIT_MS);
  }

  document.addEventListener("input", changed);
  document.addEventListener("change", changed);
  document.addEventListener("submit", (event) => event.preventDefault());

  document.addEventListener("click", (event) => {
    const id = event.target.id;
    if (id === "panel-close") close();
    if (id === "print") window.print();
    if (id === "take") judge(true);
    if (id === "clear") {
      typed = "";
      byId("application-form")
        .querySelectorAll("input, select")
        .forEach((field) => (field.value = ""));
      key = newKey();
      clearTimeout(waiting);
      set("application", { data: null });
      byId("a-client_id").focus();
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && byId("panel-close") && document.body.dataset.view !== "decision") close();
  });

  // Paper shows all of it.
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("#panel details, #judged details").forEach((part) => (part.open = true));
  });

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.riskometer = Object.assign({}, window.dash_clientside.riskometer, {
    /* Show the view that an address names, and tell a screen reader where it is. */
    show: (pathname, search) => {
      const last = pathname.split("/").pop();
      const view = last in TITLES ? last : "files";
      const moved = document.body.dataset.view && document.body.dataset.view !== view;
      document.body.dataset.view = view;
      document.title = view === "files" ? TITLES.files : TITLES[view] + " - " + TITLES.files;
      for (const name of ["files", "client", "history"]) {
        const section = byId("view-" + name);
        if (!section) continue; // not for this user
        section.hidden = name !== view;
        const link = byId("to-" + name);
        if (name === view) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      const title = moved && document.querySelector("#view-" + view + " h2");
      if (title) title.focus();
      if (search.includes("batch=")) {
        document.querySelectorAll("#files input").forEach((choice) => (choice.checked = false));
      }
      return view;
    },
    /* Whether the service answers, which the banner cannot show. A table whose request was lost
       sends it again. */
    watch: async () => {
      const blocks = Object.values((grid() && grid().getCacheBlockState()) || {});
      stuck = blocks.some((block) => block.pageStatus === "loading") ? stuck + 1 : 0;
      if (stuck >= STUCK) {
        stuck = 0;
        // Dash has not reported the failure to the table, which waits for an answer.
        window.dash_component_api.getLayout("decisions").props.getRowsRequest.failCallback();
        grid().purgeInfiniteCache();
      }
      try {
        await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
        return "";
      } catch (error) {
        return "No answer from the service. What is shown is what was known last.";
      }
    },
    /* Moves the focus to a panel that was opened or redrawn: behind it a table has a stop at each
       cell. */
    enter: () => {
      const trouble = document.querySelector("#panel .trouble");
      const title = byId(trouble ? "override-set" : "panel-title");
      if (title) title.focus();
      return noUpdate();
    },
    /* After an override: the table reads its rows again. */
    refresh: (number) => {
      if (!number) return noUpdate();
      const table = grid();
      if (table) table.refreshInfiniteCache();
      return "Decision set";
    },
  });
})();
