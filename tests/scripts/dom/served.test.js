// The scripts as the portal serves them: without comments and indentation, and the same programs.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import test from "node:test";

import { Linter } from "eslint";

const STATIC = path.resolve(import.meta.dirname, "../../../portal/static");
const SERVED = process.env.SERVED ?? "";
const PLACES = new Set(["start", "end", "loc", "range", "parent", "tokens", "comments"]);

/** The program that a text is, whatever its layout. @param {string} text */
function program(text) {
  const linter = new Linter();
  const faults = linter.verify(text, [{ languageOptions: { ecmaVersion: "latest", sourceType: "module" } }]);
  assert.deepEqual(faults.filter(({ fatal }) => fatal), []);
  /** @param {string} key @param {unknown} value */
  const plain = (key, value) => (PLACES.has(key) ? undefined : typeof value === "bigint" ? String(value) : value);
  return JSON.stringify(linter.getSourceCode().ast.body, plain);
}

const names = readdirSync(STATIC, { recursive: true, encoding: "utf8" }).filter(
  (name) => name.endsWith(".js") && !name.startsWith("vendor"),
);

test("there are scripts to be compared", () => assert.ok(SERVED && names.length > 50));

for (const name of names)
  test(`${name} is the same program`, () => {
    const [written, served] = [STATIC, SERVED].map((folder) => readFileSync(path.join(folder, name), "utf8"));
    assert.ok(served.length < written.length);
    assert.equal(program(served), program(written));
  });
