// One ESM file and one style sheet, written where Python reads them. No CDN, no source map, no clock: two builds
// give the same bytes, so that CI can build again and compare.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.env.LIVELATENT_STATIC ?? here("../src/livelatent/widget/static");

const options = {
  absWorkingDir: here("."),
  entryPoints: { widget: "src/widget.ts", "widget-style": "src/style.css" },
  outdir: "out",
  bundle: true,
  format: "esm",
  target: ["chrome111", "firefox115", "safari16.4"],
  charset: "utf8",
  minify: true,
  legalComments: "none", // there is no code of others in it
  write: false,
  plugins: [{ name: "write", setup: (build) => build.onEnd(write) }],
};

async function write(result) {
  if (result.errors.length) return;
  for (const file of result.outputFiles) {
    if (file.path.endsWith("widget.js")) await writeFile(`${out}/widget.js`, file.contents);
    if (file.path.endsWith("widget-style.css")) await writeFile(`${out}/widget.css`, file.contents);
  }
}

if (process.argv.includes("--watch")) {
  const context = await esbuild.context(options);
  await context.watch();
  const { hosts, port } = await context.serve({ servedir: here(".."), host: "127.0.0.1" });
  console.log(`watching; the mock host: http://${hosts[0]}:${port}/js/mock/index.html`);
} else {
  await esbuild.build(options);
}
