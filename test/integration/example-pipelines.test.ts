/**
 * The example pipelines, by scripted callers in virtual time: who says or keys in what, and what is heard and told of it. Each
 * call is replayed (scripted-caller.ts). Where these stand besides:
 *
 *   voice-assistant   test/e2e/start.test.ts, recordings.test.ts, questions.test.ts: with the local recogniser and voice, one
 *                     call in real time; test/integration/barge-in.test.ts
 *   interpreter, phone-menu, guarded-assistant
 *                     test/e2e/text-nodes.test.ts: with the local recogniser and voice; test/integration/text-nodes.test.ts
 *   tool-assistant    test/integration/tools.test.ts and test/e2e/tools.test.ts: all of it, against a webhook and an MCP server
 */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { adviceOn } from "@rspp/spec/advice";
import { compileSpec } from "@rspp/spec/compile-spec";
import { bundleSpec } from "@rspp/spec/module-library";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems } from "@rspp/spec/problem";
import { expect, test } from "vitest";
import { checkFile, readSpecFile } from "../../cli/src/spec-file.ts";
import { type Account, playScript, type Script } from "./scripted-caller.ts";

const specs = fileURLToPath(new URL("../../pipelines/specs/", import.meta.url));

/** @param edit `from` and `to`, of a value that would make the test long. */
async function checked(name: string, edit: readonly [string, string] = ["", ""]) {
  const file = await readSpecFile(`${specs}${name}.yaml`);
  const source = file.source.replace(...edit);
  const found = checkFile({ ...file, source });
  if (!found.ok) throw new Error(formatProblems(found.problems, source));
  return { ...found, source };
}

test.each(readdirSync(specs).map((file) => file.replace(/\.yaml$/, "")))(
  "%s: lint --strict has nothing to say, and the registry is sent the same pipeline",
  async (name) => {
    const { spec, compiled, source } = await checked(name);
    expect(adviceOn(spec)).toEqual([]);
    expect(compiled.name).toBe(name);
    // As `rspp validate` and `rspp publish` send it: one text that needs no files.
    const sent = parseSpec(bundleSpec(source, spec.origin.library ?? []), `${name}.yaml`);
    const there = sent.ok ? compileSpec(sent.value) : sent;
    expect(there.ok && there.value.fingerprint).toBe(compiled.fingerprint);
  },
);

const STORY = "Once upon a time there was a small robot who lived in a lighthouse by the sea.";

interface Call extends Pick<Script, "variables" | "served" | "acts"> {
  edit?: readonly [string, string];
  /** In order; a line that ends with … is the beginning of one, which may be cut. */
  lines: readonly string[];
  ended?: string;
}

async function played(name: string, { edit, lines, ended = "caller", ...script }: Call): Promise<Account> {
  const { compiled } = await checked(name, edit);
  const account = await playScript({ pipeline: compiled, sessionId: `${name}-call`, ...script });
  const shortened = account.lines.map((line, i) => {
    const wanted = lines[i]?.replace(/…( \[cut\])?$/, "") ?? line;
    const long = lines[i]?.includes("…") === true && line.startsWith(wanted);
    return long ? `${wanted}…${line.endsWith(" [cut]") ? " [cut]" : ""}` : line;
  });
  expect(shortened).toEqual(lines);
  expect(account.ended).toBe(ended);
  return account;
}

const titled = (calls: Readonly<Record<string, Call>>): [string, Call][] => Object.entries(calls);

const assistant: Readonly<Record<string, Call>> = {
  "F-010 F-034 answers, is interrupted, and answers on": {
    acts: [{ say: "tell me a story" }, { at: "during", say: "stop" }, { say: "when do you open" }],
    lines: [
      "agent: Welcome. How can I help you?",
      "caller: tell me a story",
      `agent: ${STORY}… [cut]`,
      "caller: stop",
      "agent: Okay.",
      "caller: when do you open",
      "agent: We open at nine.",
    ],
  },
};
test.each(titled(assistant))(
  "the voice assistant: %s",
  async (_, call) => void (await played("voice-assistant", call)),
);

const MENU = "agent: For our opening hours press one, for a story press two, or just ask.";
const LAST = "agent: Thank you for calling.";

const menu: Readonly<Record<string, Call>> = {
  "F-010 X-01 digits are answered like words, and the agent's own goodbye ends the call": {
    acts: [{ keys: "1#" }, { say: "how many days are in june" }, { say: "goodbye" }],
    lines: [
      MENU,
      "agent: We open at nine.",
      "caller: how many days are in june",
      "agent: June has thirty days.",
      "caller: goodbye",
      "agent: Goodbye, and have a nice day.",
    ],
    ended: "agent_hangup",
  },
  "X-01 silence is prompted twice and then ends the call": {
    acts: [{ opens: 3 }],
    lines: [MENU, "agent: Press one for our opening hours, or two for a story.", "agent: Are you still there?", LAST],
    ended: "silence",
  },
  "F-010 X-01 a caller who answers the prompt goes on": {
    acts: [{ opens: 1 }, { keys: "1#" }],
    lines: [MENU, "agent: Press one for our opening hours, or two for a story.", "agent: We open at nine."],
  },
  "F-034 X-01 the star key cuts what is said and ends the call": {
    acts: [{ keys: "2#" }, { at: "during", keys: "*" }],
    lines: [MENU, `agent: ${STORY}… [cut]`, LAST],
    ended: "caller_hangup",
  },
  "X-01 the longest call is announced and ends by itself": {
    edit: ["max_call_ms: 600000", "max_call_ms: 40000"],
    acts: [{ keys: "1#" }, { opens: 4 }],
    lines: [
      MENU,
      "agent: We open at nine.",
      "agent: We have to hang up in half a minute.",
      "agent: Press one for our opening hours, or two for a story.",
      "agent: Are you still there?",
      LAST,
    ],
    ended: "max_duration",
  },
};
test.each(titled(menu))("the phone menu: %s", async (_, call) => void (await played("phone-menu", call)));

const served = (settings: Readonly<Record<string, string | number>>) => ({ llm: { provider: "sim/llm", settings } });
const HELLO = "agent: Welcome. How can I help you?";
const GUARDED_STORY = STORY.replace("small robot", "something").replace("lighthouse", "something");

const guarded: Readonly<Record<string, Call>> = {
  "F-010 F-019 X-01 a noise opens no turn, and assent does not interrupt": {
    acts: [
      { say: "uh", opens: 0 },
      { say: "tell me a story" },
      { at: "during", say: "uh huh", opens: 0 },
      { say: "when do you close" },
    ],
    lines: [
      HELLO,
      "caller: tell me a story",
      `agent: ${GUARDED_STORY}…`,
      "caller: when do you close",
      "agent: We close at six.",
    ],
  },
  "F-034 F-118 other words do; what the policy replaces is never said": {
    acts: [{ say: "tell me a story" }, { at: "during", say: "when do you open" }],
    lines: [
      HELLO,
      "caller: tell me a story",
      `agent: ${GUARDED_STORY}… [cut]`,
      "caller: when do you open",
      "agent: We open at nine.",
    ],
  },
  "F-007 F-133 a model that is overloaded is stood in for, in the same turn and by the reason": {
    served: served({ fault: "overload" }),
    acts: [{ say: "tell me a story" }],
    lines: [
      HELLO,
      "caller: tell me a story",
      "agent: Many people are asking right now. Please ask me again in a moment.",
    ],
  },
  "F-007 F-133 one that stays silent likewise, before the caller has waited long": {
    served: served({ fault: "silent" }),
    acts: [{ say: "tell me a story" }],
    lines: [
      HELLO,
      "caller: tell me a story",
      "agent: I cannot answer that right now. Please ask me again in a moment.",
    ],
  },
  "F-131 where the voice fails, the caller reads what went wrong": {
    served: { answer__tts: { provider: "sim/tts", settings: { fault: "overload" } } },
    acts: [{ opens: 1 }],
    lines: [`${HELLO} [cut]`, "agent: Something went wrong. Please say that again. [cut]"],
  },
};
test.each(titled(guarded))("the guarded assistant: %s", async (_, call) => {
  const { lines, signals } = await played("guarded-assistant", call);
  expect(`${lines.join()} ${signals}`).not.toMatch(/small robot|lighthouse/);
});

test("the guarded assistant: F-118 a card number ends the reply with a sentence, and stands in no signal", async () => {
  const { signals, routes } = await played("guarded-assistant", {
    served: served({ text: "Your card is 4111 1111 1111 1111 and more." }),
    acts: [{ say: "help me" }],
    lines: [HELLO, "caller: help me", "agent: Your card is I cannot say that."],
  });
  expect(routes).toEqual(["2 policy card_number"]);
  expect(signals).not.toContain("4111");
});

const GERMAN = "endpointing.utterance->german.text";
const SPANISH = "endpointing.utterance->spanish.text";

test.each([
  ["de", "wann öffnen Sie", "auf Wiedersehen"],
  ["es", "cuándo abren", "adiós"],
] as const)(
  "the interpreter: F-018 X-02 into %s by the session's variable; who speaks meanwhile waits",
  async (into, open, bye) => {
    const { routes } = await played("interpreter", {
      variables: { into },
      acts: [{ say: "when do you open" }, { at: "during", say: "goodbye" }],
      lines: [
        "agent: The interpreter is listening.",
        "caller: when do you open",
        `agent: ${open}`,
        "caller: goodbye",
        `agent: ${bye}`,
      ],
    });
    const taken = (turn: number) => [
      `${turn} condition ${GERMAN} ${into === "de"}`,
      `${turn} condition ${SPANISH} ${into === "es"}`,
    ];
    expect(routes).toEqual([...taken(2), ...taken(3)]);
  },
);

test("the interpreter: X-02 a language it does not know is refused before the call", async () => {
  const { compiled } = await checked("interpreter");
  const call = playScript({ pipeline: compiled, sessionId: "refused", variables: { into: "fr" }, acts: [] });
  await expect(call).rejects.toThrow(/variables\.into .*de/);
});
