/**
 * A page that draws outputs as a notebook of VS Code's does (read off vscode-jupyter and vscode): its own bundle of ipywidgets and a
 * real kernel. What it knows of widgets goes with its window; the document (here in the session's storage) stays.
 */
import { KernelManager, ServerConnection } from "@jupyterlab/services";
import { activate } from "/vscode/ipywidgets.js";

const WIDGET = "application/vnd.jupyter.widget-view+json";
const stored = JSON.parse(sessionStorage.getItem("document") ?? '{"kernel": "", "outputs": []}');
/** What the file is to have: an output has its cell, its place on the page, and what the kernel sent last. */
const outputs = stored.outputs;
/** Models that were displayed since this window was loaded; it draws no others. */
const known = new Set();
/** Outputs by their display's id, of this window too: those that were there before are not updated. */
const displays = new Map();
/** Which model is drawn in which output. One that shows it already is left alone. */
const drawn = new Map();
const keys = [];

const save = () => sessionStorage.setItem("document", JSON.stringify({ kernel: kernel.id, outputs }));

/** The place of an output on the page. */
function place({ id, cell }) {
  const found = document.getElementById(id);
  if (found) return found;
  let around = document.getElementById(`cell-${cell}`);
  if (!around) document.querySelector("main").append((around = Object.assign(document.createElement("section"), { id: `cell-${cell}` })));
  const output = Object.assign(document.createElement("div"), { id, className: "output" });
  around.append(output);
  return output;
}

async function draw(output) {
  const here = place(output);
  const model = output.data[WIDGET]?.model_id;
  if (!known.has(model)) {
    drawn.delete(output.id);
    here.className = "output";
    if (output.data["text/html"]) here.innerHTML = output.data["text/html"];
    else here.textContent = output.data["text/plain"];
    return;
  }
  if (drawn.get(output.id) === model) return;
  here.className = "output cell-output-ipywidget-background";
  const around = Object.assign(document.createElement("div"), { className: "cell-output-ipywidget-background", tabIndex: 0, role: "region" });
  around.setAttribute("aria-label", "Interactive widget output");
  here.replaceChildren(around);
  drawn.set(output.id, model);
  const view = await manager.create_view(await manager.get_model(model), { el: around });
  if (around.isConnected) await manager.display_view(undefined, view, { node: around });
}

/** An error of the renderer's is in its log, and no more is seen of it. */
const shown = (output) => draw(output).catch((error) => console.error(`widget: ${error.message}`));

function heard(_, { header, parent_header, content }) {
  const cell = runs.get(parent_header.msg_id);
  const model = content.data?.[WIDGET]?.model_id;
  if (model) known.add(model);
  const display = content.transient?.display_id;
  if (header.msg_type === "update_display_data") {
    const output = displays.get(display);
    if (output) shown(Object.assign(output, { data: content.data }));
  } else if (cell !== undefined && ["display_data", "execute_result", "stream", "error"].includes(header.msg_type)) {
    const said = content.text ?? content.traceback?.join("\n");
    const output = { id: `output-${header.msg_id}`, cell, data: content.data ?? { "text/plain": said } };
    outputs.push(output);
    if (display) displays.set(display, output);
    shown(output);
  }
  save();
}

/** The webview tells the window around it of the keys that come up to it, and keeps the browser from some. */
window.addEventListener("keydown", (e) => {
  if ((e.ctrlKey || e.metaKey) && "spfzy".includes(e.key.toLowerCase())) e.preventDefault();
  if (!["Control", "Shift"].includes(e.key)) keys.push([e.ctrlKey && "Control", e.shiftKey && "Shift", e.key].filter(Boolean).join("+"));
});

const settings = ServerConnection.makeSettings({ baseUrl: `${location.origin}/`, wsUrl: `${location.origin.replace("http", "ws")}/` });
const kernels = new KernelManager({ serverSettings: settings });
await kernels.ready;
const kernel = stored.kernel ? kernels.connectTo({ model: { id: stored.kernel, name: "python3" } }) : await kernels.startNew({ name: "python3" });
await kernel.info;
Object.defineProperty(kernel, "supportsSubshells", { value: false });

activate();
window.undef = window.requirejs.undef;
window.vscIPyWidgets8.load();
const scripts = {
  widgetsRegisteredInRequireJs: new Set(),
  loadWidgetScript: async (name) => window.requirejs.config({ paths: { [name]: `/vscode/${name}` } }),
  successHandler() {},
  errorHandler: (name, module) => console.error(`widget: no ${module} for ${name}`),
};
const manager = new window.vscIPyWidgets.WidgetManager(kernel, undefined, scripts, () => undefined);

/** Which cell a request is of. */
const runs = new Map();
kernel.iopubMessage.connect(heard);
for (const output of outputs) shown(output);
save();

window.notebook = {
  outputs,
  keys,
  /** Run a cell; its status, once it has ended. */
  async run(cell, code) {
    const future = kernel.requestExecute({ code, allow_stdin: true, stop_on_error: true }, true, { cellId: `vscode-notebook-cell:/a.ipynb#${cell}` });
    runs.set(future.msg.header.msg_id, cell);
    return (await future.done).content.status;
  },
};
