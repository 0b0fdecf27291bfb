import { expect, test } from "vitest";
import { createBell } from "./bell.ts";

test("a ring is heard by who waits, or at the next wait, once; an abort wakes too", async () => {
  const end = new AbortController();
  const bell = createBell(end.signal);
  const heard: string[] = [];
  const waiting = bell.wait(60_000).then(() => heard.push("first"));
  bell.ring();
  await waiting;
  bell.ring();
  await bell.wait(60_000).then(() => heard.push("second"));
  await bell.wait(1).then(() => heard.push("nobody rang"));
  const last = bell.wait(60_000).then(() => heard.push("aborted"));
  end.abort();
  await last;
  await bell.wait(60_000);
  expect(heard).toEqual(["first", "second", "nobody rang", "aborted"]);
  bell.close();
});
