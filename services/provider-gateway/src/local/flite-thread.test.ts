import { expect, test } from "vitest";
import { FliteThread } from "./flite-thread.ts";

const clause = { text: "Hello.", voice: "kal16", rate: 1 };

function speak(thread: FliteThread): Promise<string> {
  return new Promise((resolve) => {
    thread.speak(clause, (result) => resolve("problem" in result ? result.problem : "spoken"));
  });
}

test("a thread that dies fails its clause; the next clause gets a new thread", async () => {
  const thread = new FliteThread();
  await thread.warm();
  const lost = speak(thread);
  const next = speak(thread);
  thread.crash();
  expect(await lost).toBe("the flite thread ended");
  expect(await next).toBe("spoken");
  await thread.close();
  expect(await speak(thread)).toBe("flite is closed");
});

test("clauses beyond the queue's bound are refused as overload", async () => {
  const thread = new FliteThread();
  let overloads = 0;
  for (let i = 0; i < 520; i++) {
    thread.speak(clause, (result) => {
      if ("problem" in result && result.overload) overloads++;
    });
  }
  expect(overloads).toBe(520 - 513);
  await thread.close();
});
