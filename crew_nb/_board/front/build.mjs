/**
 * Makes the files that Python hands to widgets from these sources: an ES module and a style sheet for each, as text that
 * can be read. They are committed, so that installing needs no Node. With `--check` nothing is written, and what is not as
 * the sources give it is named.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const sources = fileURLToPath(new URL(".", import.meta.url));
const built = join(sources, "../static");

const origin = "Made from crew_nb/_board/front by `npm run build`: edit it there.";

const { outputFiles } = await build({
  absWorkingDir: sources,
  entryPoints: ["board.js", "launcher.js", "rate.js", "keeper.js", "board.css", "launcher.css", "rate.css", "page.css"],
  outdir: built,
  bundle: true,
  format: "esm",
  target: "esnext",
  charset: "utf8",
  banner: { js: `// ${origin}`, css: `/* ${origin} */` },
  write: false,
});
const wanted = new Map(outputFiles.map(({ path, text }) => [basename(path), text]));

await mkdir(built, { recursive: true });
const names = new Set([...wanted.keys(), ...(await readdir(built))]);
const stale = [];
for (const name of names) if (wanted.get(name) !== (await readFile(join(built, name), "utf8").catch(() => undefined))) stale.push(name);

if (process.argv.includes("--check")) {
  if (stale.length) console.error(`Not what the sources give: ${stale.join(", ")} in crew_nb/_board/static. Run: npm run build`);
  process.exitCode = stale.length ? 1 : 0;
} else
  for (const name of stale) {
    const text = wanted.get(name);
    await (text === undefined ? rm(join(built, name)) : writeFile(join(built, name), text));
  }
