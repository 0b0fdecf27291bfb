/** The shipped pipelines with text nodes, as people run them: speech in, speech out, with built-in nodes and local providers. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import { jsonOf, lastSpeech, plain, pocketsphinx, recognise, rspp, tempDir } from "./rspp.ts";

interface Ran {
  ok: boolean;
  session: string;
  turns: { origin: string; user: string; said: string; terminal: string; delivery: string }[];
  reply: string;
}

const specs = join(import.meta.dirname, "../../pipelines/specs");

/** Runs a shipped pipeline on one question, and replays what was recorded of it. */
async function call(spec: string, question: string): Promise<Ran> {
  const dir = tempDir();
  const data = join(dir, "data");
  const args = ["run", join(specs, spec), "--fast", "--json", "--record", "L2", "--data", data];
  const end = await rspp([...args, "--out", join(dir, "reply.wav"), "--wav", questionPath(question)]);
  expect(end.status, end.all).toBe(0);
  const ran = jsonOf<Ran>(end);
  const replayed = await rspp(["replay", ran.session, "--data", data]);
  expect(replayed.status, replayed.all).toBe(0);
  expect(replayed.all).toContain("(texts recomputed): identical");
  return ran;
}

const answerOf = (ran: Ran): Ran["turns"][number] | undefined => ran.turns.find(({ origin }) => origin === "endpoint");

describe("pipelines of built-in nodes", () => {
  test("F-010 the interpreter says in German what was said in English", async () => {
    const ran = await call("interpreter.yaml", "bye");
    expect(answerOf(ran)).toMatchObject({ user: "goodbye", terminal: "commit", delivery: "completed" });
    expect(answerOf(ran)?.said).toBe("auf Wiedersehen");
    expect((await lastSpeech(await readFile(ran.reply))).length).toBeGreaterThan(8_000);
  });

  test("F-010 F-118 the guarded assistant says nothing that its policy replaces", async () => {
    const ran = await call("guarded-assistant.yaml", "story");
    const said = answerOf(ran)?.said ?? "";
    expect(said).toContain("Once upon a time there was a something who lived in a something by the sea.");
    expect(said).not.toMatch(/small robot|lighthouse/);
    expect(answerOf(ran)).toMatchObject({ terminal: "commit", delivery: "completed" });
  });

  test("F-010 the phone menu answers speech like any assistant", async () => {
    const ran = await call("phone-menu.yaml", "bye");
    expect(answerOf(ran)).toMatchObject({ user: "goodbye", terminal: "commit", delivery: "completed" });
    expect(plain(answerOf(ran)?.said ?? "")).toBe("goodbye and have a nice day");
    if (pocketsphinx === undefined) return;
    const heard = await recognise(await lastSpeech(await readFile(ran.reply)));
    expect(heard).toBe("goodbye and have a nice day");
  });
});
