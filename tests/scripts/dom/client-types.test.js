/** What clients/js tells TypeScript of itself is what its comments say, and they agree with its code. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "node:test";

const HERE = new URL("../", import.meta.url);

test("vivavoce-client.d.ts is what TypeScript makes of vivavoce-client.js", () => {
  const compiler = new URL("node_modules/typescript/bin/tsc", HERE).pathname;
  execFileSync(process.execPath, [compiler, "--project", new URL("client.tsconfig.json", HERE).pathname]);
  const made = readFileSync(new URL("node_modules/.client-types/vivavoce-client.d.ts", HERE), "utf8");
  const kept = readFileSync(new URL("../../clients/js/vivavoce-client.d.ts", HERE), "utf8");
  assert.equal(kept, made);
});
