// Builds the browser's files into static/ and the icon sprite into views/ui/.
// Run by `npm run build`; the results are committed.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import subset from "subset-font";

const out = "static";
mkdirSync(out, { recursive: true });

execFileSync(join("node_modules", ".bin", "tailwindcss"), ["-i", "static/src/css/app.css", "-o", join(out, "app.css"), "--minify"], {
  stdio: "inherit",
});
copyFileSync("node_modules/htmx.org/dist/htmx.min.js", join(out, "htmx.js"));
copyFileSync("node_modules/htmx-ext-sse/dist/sse.min.js", join(out, "sse.js"));
// Comments and indentation stay in static/src/.
const script = readFileSync("static/src/js/app.js", "utf8");
writeFileSync(join(out, "app.js"), script.replace(/^\s*(\/\/.*|\/\*.*\*\/)\n/gm, "").replace(/^\s+/gm, ""));

// The weights and characters that pages use. Text in other alphabets is shown
// in the system's own font.
const range = (from, to) => String.fromCodePoint(...Array.from({ length: to - from + 1 }, (_, i) => from + i));
const ascii = range(0x20, 0x7e), signs = "·×–—‘’“”…←↑→↓−";
const latin1 = [...range(0xa0, 0xff)].filter((c) => !signs.includes(c)).join("");
for (const [source, name, text] of [
  ["inter", "inter", ascii + signs],
  ["inter", "inter-latin1", latin1],
  ["jetbrains-mono", "jetbrains-mono", ascii + signs],
]) {
  const font = await subset(readFileSync(join("static/src/fonts", source + ".woff2")), text, {
    targetFormat: "woff2",
    variationAxes: { wght: { min: 400, max: 600 } },
    keepFeatures: ["kern", "tnum"],
  });
  writeFileSync(join(out, name + ".woff2"), font);
}

// One symbol per icon: the drawing without the wrapper of the Lucide file.
const symbols = readFileSync("static/src/icons/lucide.txt", "utf8").trim().split("\n").map((name) => {
  const svg = readFileSync(join("node_modules/lucide-static/icons", name + ".svg"), "utf8");
  const drawing = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>"));
  return `<symbol id="i-${name}" viewBox="0 0 24 24">${drawing.replace(/\s*\n\s*/g, "").replace(/ \/>/g, "/>").trim()}</symbol>`;
});
const glyphs = readFileSync("static/src/icons/glyphs.svg", "utf8").trim().split("\n");
writeFileSync("views/ui/sprite.svg", `<svg class="hidden" aria-hidden="true">${[...glyphs, ...symbols].join("")}</svg>\n`);
