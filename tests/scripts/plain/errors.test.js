import assert from "node:assert/strict";
import test from "node:test";

import { PortalError, errorOf, errorText } from "../../../portal/static/errors.js";

const ENGLISH = { "error.unreachable": "No way to the server.", "hint.unreachable": "Try again.", details: "Details" };
const CHINESE = {
  "error.no_face": "没有找到人脸。",
  "hint.no_face": "换一张照片。",
  "error.no_face.too_few": "人脸太少。",
  "hint.no_face.too_few": "换一段更长的视频。",
  "error.unknown": "出错了（{code}）。",
  "hint.unknown": "请再试一次。",
};

test("an answer of ours is its own error, and another's is known by its status", () => {
  const ours = { error: { code: "too_many", message: "Too many.", hint: "Wait." } };
  assert.equal(errorOf(429, ours), ours.error);
  assert.equal(errorOf(502, null).code, "gateway");
  assert.equal(errorOf(413, { detail: "nginx" }).code, "proxy_too_large");
  assert.deepEqual(errorOf(418, null), { code: "http_error", message: "HTTP 418", hint: "" });
});

test("where the page speaks the server's language, the server's sentences are told", () => {
  const error = { code: "no_face", message: "There is no face.", hint: "Take another photo." };
  const expected = { cause: "There is no face.", remedy: "Take another photo.", detail: "" };
  assert.deepEqual(errorText(error, ENGLISH), expected);
});

test("what the page itself knows better is told in its own words", () => {
  assert.deepEqual(errorText({ code: "unreachable" }, ENGLISH), {
    cause: "No way to the server.",
    remedy: "Try again.",
    detail: "",
  });
});

test("in another language the code tells, and the server's sentences are the detail", () => {
  const error = { code: "no_face", message: "There is no face.", hint: "Take another photo." };
  assert.deepEqual(errorText(error, CHINESE), {
    cause: "没有找到人脸。",
    remedy: "换一张照片。",
    detail: "There is no face. Take another photo.",
  });
});

test("a cause tells apart what one code stands for, and a newer one is told by the code", () => {
  assert.equal(errorText({ code: "no_face", cause: "too_few" }, CHINESE).cause, "人脸太少。");
  assert.equal(errorText({ code: "no_face", cause: "of tomorrow" }, CHINESE).remedy, "换一张照片。");
});

test("a code that is newer than the texts is named, whatever is in it", () => {
  const { cause, remedy, detail } = errorText({ code: "$&_new", message: "Something new." }, CHINESE);
  assert.equal(cause, "出错了（$&_new）。");
  assert.equal(remedy, "请再试一次。");
  assert.equal(detail, "Something new.");
});

test("an error carries what its answer said beside the words", () => {
  const error = new PortalError({ code: "not_prepared", message: "Not yet.", job: "j1", avatar: "mira", lipsync: "viseme" });
  assert.ok(error instanceof Error);
  assert.deepEqual([error.message, error.hint, error.job, error.avatar], ["Not yet.", "", "j1", "mira"]);
});
