import { readdirSync } from "node:fs";
import js from "@eslint/js";
import globals from "globals";

const FRONT = "crew_nb/_board/front";
/** The views of the board: each has a folder. */
const VIEWS = readdirSync(`${FRONT}/board`, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));

/** Modules of a folder may not know those of others. */
const apart = (/** @type {string} */ folder, /** @type {string[]} */ others, /** @type {string} */ message) => ({
  files: [`${FRONT}/${folder}/**/*.js`],
  rules: { "no-restricted-imports": ["error", { patterns: [{ group: others.map((other) => `**/${other}/**`), message }] }] },
});

export default [
  { ignores: [".venv*/", "build/", "**/.ipynb_checkpoints/", "site/", "dist/", "crew_nb/_board/static/"] },
  js.configs.recommended,
  {
    files: [`${FRONT}/**/*.js`],
    languageOptions: { globals: globals.browser },
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "max-lines": ["error", 400],
      // LLM words are untrusted: HTML is taken in one place only, and that place is the one that is allowed here.
      "no-restricted-syntax": [
        "error",
        {
          selector:
            "AssignmentExpression[left.property.name=/^(innerHTML|outerHTML)$/]:not(FunctionDeclaration[id.name='sanitized'] *)",
          message: "Only sanitized() takes HTML.",
        },
        {
          selector: "CallExpression[callee.property.name=/^(insertAdjacentHTML|write|writeln|setHTMLUnsafe)$/]",
          message: "Only sanitized() takes HTML.",
        },
      ],
    },
  },
  apart("shared", ["board", "launcher"], "What is shared knows neither the board nor the launcher."),
  apart("launcher", ["board"], "The launcher and the board share what is in shared/ only."),
  ...VIEWS.map((view) => apart(`board/${view}`, ["launcher", ...VIEWS.filter((other) => other !== view)], "A view knows no other view.")),
  {
    files: ["tests/js/*.mjs", "tests/support/*.mjs", "eslint.config.mjs", `${FRONT}/build.mjs`],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
  },
];
