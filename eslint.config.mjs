import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".venv*/", "build/", "**/.ipynb_checkpoints/", "site/", "dist/"] },
  js.configs.recommended,
  {
    files: ["crew_nb/static/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
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
  { files: ["tests/js/*.mjs", "eslint.config.mjs"], languageOptions: { globals: { ...globals.node, ...globals.browser } } },
];
