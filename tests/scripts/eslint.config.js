/** Faults that types do not show: names that are missing or unused, and what would put foreign text into the page. */

import js from "@eslint/js";
import globals from "globals";

const MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML"];

export default [
  { ignores: ["**/vendor/**", "**/node_modules/**"] },
  js.configs.recommended,
  {
    files: ["**/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      eqeqeq: "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": [
        "error",
        ...MARKUP.map((property) => ({ property, message: "Make elements instead: nothing becomes markup here." })),
      ],
      "no-self-compare": "error",
      "no-throw-literal": "error",
      "no-unused-expressions": "error",
      "no-unused-vars": ["error", { args: "after-used", argsIgnorePattern: "^_", ignoreRestSiblings: true }],
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-promise-reject-errors": "error",
      "require-await": "error",
    },
  },
  { files: ["**/pcm-worklet.js", "portal/static/microphone-worklet.js"], languageOptions: { globals: globals.audioWorklet } },
  {
    files: ["**/tests/scripts/**", "**/tests/clients/**"],
    languageOptions: { globals: { ...globals.browser, ...globals.node } },
    rules: { "no-restricted-properties": "off", "require-await": "off" },
  },
];
