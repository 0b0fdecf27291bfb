/** Scripted callers in virtual time: what each step does, what each expectation finds, and how it is told. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test, vi } from "vitest";
import { test as testCommand } from "../actions/test.ts";
import { checkCall } from "./expectations.ts";
import { junitXml } from "./junit.ts";
import { difference, reportLines } from "./report.ts";
import { readScript, runScript, type ScriptReport } from "./run-script.ts";

const folder = fileURLToPath(new URL("../../../pipelines/tests/", import.meta.url));
const made = mkdtempSync(join(tmpdir(), "rspp-test-"));
afterAll(() => rmSync(made, { recursive: true }));

const script = (pipeline: string, rest: string): string =>
  `schema: rspp/test/v1\npipeline: ../specs/${pipeline}.yaml\n${rest}`;

async function play(pipeline: string, rest: string): Promise<ScriptReport> {
  return runScript(await readScript(`${folder}inline.yaml`, script(pipeline, rest), { data: made }));
}

const failures = ({ checks }: ScriptReport): string[] =>
  checks.flatMap(({ ok, step, expectation, found }) => (ok ? [] : [`${step} ${expectation}: ${found}`]));

describe("steps", () => {
  test("X-08 F-042 push to talk: the caller's word ends the utterance, not silence", async () => {
    const spoken = await play("voice-assistant", "steps:\n  - {say: help me, turns: 1}\n");
    const pushed = await play(
      "voice-assistant",
      "steps:\n  - {push_to_talk: {say: help me}, expect: {caller: help me}}\n",
    );
    expect([failures(spoken), failures(pushed)]).toEqual([[], []]);
    const opened = ({ facts }: ScriptReport) =>
      facts.signals.find(({ signal, turn }) => signal === "turn_open" && turn === 2);
    const sooner = ((opened(spoken)?.monoNs ?? 0) - (opened(pushed)?.monoNs ?? 0)) / 1e6;
    expect(sooner).toBeGreaterThan(400);
  });

  test("X-08 a WAV is played, and its words come from the file beside it", async () => {
    const wav = "../../cli/assets/question-1.wav";
    const words = readFileSync(`${folder}../../cli/assets/question-1.txt`, "utf8").trim();
    const report = await play("voice-assistant", `steps:\n  - {audio: {wav: ${wav}}, expect: {caller: ${words}}}\n`);
    expect(failures(report)).toEqual([]);
  });

  test("X-08 a connection that is cut during the reply is made again, and the reply goes on to its end", async () => {
    const steps =
      "steps:\n  - {say: when do you open, expect: {heard: We open at nine.}}\n  - network: {cut_ms: 700, after_ms: 100}\n";
    const cut = await play("voice-assistant", `${steps}    expect: {signals: [reconnecting]}\n`);
    expect(failures(cut)).toEqual([]);
    const calm = await play("voice-assistant", "steps:\n  - {say: when do you open}\n");
    expect(cut.callMs - calm.callMs).toBe(700);
  });

  test("X-08 frames are lost and late by the seed: the same again, and another way by another seed", async () => {
    const trouble = (seed: string) =>
      play(
        "voice-assistant",
        `seed: ${seed}\nsteps:\n  - network: {loss_percent: 20, jitter_ms: 60}\n  - {say: when do you open, expect: {text: We open at nine.}}\n`,
      );
    const [first, again, other] = [await trouble("a"), await trouble("a"), await trouble("b")];
    expect([failures(first), failures(other)]).toEqual([[], []]);
    expect(first.facts.framesLost).toBeGreaterThan(10);
    expect(again.facts).toEqual(first.facts);
    expect(other.facts.framesLost).not.toBe(first.facts.framesLost);
  });

  test("X-08 who hangs up during the reply has heard the part before it", async () => {
    const report = await play(
      "voice-assistant",
      'steps:\n  - {say: tell me a story, expect: {heard: {contains: ["Once upon"], not_contains: [sailor]}, evidence: {delivery: lost}}}\n  - barge_in: {hang_up: true, at_text: small robot}\nexpect: {ended: caller}\n',
    );
    expect(failures(report)).toEqual([]);
  });
});

test("X-08 in real time the same script finds the same, and takes its time", async () => {
  const rest =
    "providers: {tts: {name: sim/tts, settings: {ms_per_char: 10}}}\nsteps:\n  - push_to_talk: {say: goodbye}\n    expect: {latency: {first_output_ms: 5000}}\n";
  const virtual = await play("tool-assistant", rest);
  const real = await play("tool-assistant", `time: real\n${rest}`);
  expect([failures(virtual), failures(real)]).toEqual([[], []]);
  expect(real.facts.lines).toEqual(virtual.facts.lines);
  expect(real.tookMs).toBeGreaterThanOrEqual(virtual.callMs - 100);
});

test("X-08 a replay that differs, output after a fence and what is left open fail any script", async () => {
  const path = `${folder}inline.yaml`;
  const loaded = await readScript(path, script("voice-assistant", "steps:\n  - {say: help me}\n"), { data: made });
  const { facts } = await runScript(loaded);
  const replay = { level: "effects", problems: ["step 3 differs"] };
  const checks = checkCall(loaded.script, [], { ...facts, replay, afterFence: 320, leaks: ["openTimers: 1"] });
  expect(checks.slice(-3).map(({ ok, found }) => [ok, found])).toEqual([
    [false, "step 3 differs"],
    [false, "320 samples or frames"],
    [false, "openTimers: 1"],
  ]);
});

describe("what fails", () => {
  test.each([
    [
      "a reply that never comes",
      "wait_ms: 3000\nsteps:\n  - {say: hm, turns: 2}\n",
      ["0 turns: 1", "null end: after 3000 ms 2 turns were opened, 3 are due"],
    ],
    [
      "words at which nobody speaks",
      "wait_ms: 3000\nsteps:\n  - {barge_in: {say: a, at_text: never said}}\n",
      ["0 step: the reply was not over after 3000 ms"],
    ],
    ["a turn too many", "steps:\n  - {say: when do you open, turns: 0}\n", ["0 turns: 1"]],
    [
      "a cancel that was none",
      "steps:\n  - {say: help me, expect: {no_output_after_cancel: true}}\n",
      ["0 output after cancel: nothing was cancelled"],
    ],
    [
      "a latency that was not measured",
      "steps:\n  - {say: help me, expect: {latency: {cancel_fence_ms: 9000}}}\n",
      ["0 cancel_fence_ms: not measured"],
    ],
    [
      "a voice that is slow",
      "providers: {tts: {name: sim/tts, settings: {first_chunk_ms: 300}}}\nsteps:\n  - {say: help me, expect: {latency: {first_output_ms: 299}}}\n",
      ["0 first_output_ms: 300"],
    ],
    [
      "an order that was another",
      'steps:\n  - {say: goodbye}\nexpect: {order: ["agent: Goodbye…", "caller: goodbye"]}\n',
      [/^null order: agent: Welcome/],
    ],
    [
      "what should never be said",
      "steps:\n  - {say: when do you open}\nexpect: {never: [nine]}\n",
      ['null never: "nine"'],
    ],
  ] as const)("X-08 %s", async (_, rest, told) => {
    const found = failures(await play("voice-assistant", rest));
    expect(found).toHaveLength(told.length);
    for (const [i, one] of told.entries())
      expect(found[i]).toMatch(typeof one === "string" ? new RegExp(`^${one}$`) : one);
  });
});

test("X-08 the example of docs/testing-agents.md holds", async () => {
  const page = readFileSync(new URL("../../../docs/testing-agents.md", import.meta.url), "utf8");
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const report = await runScript(await readScript(`${folder}page.yaml`, example, { data: made }));
  expect(failures(report)).toEqual([]);
});

describe("rspp test", () => {
  const good = join(made, "good.yaml");
  const wrong = join(made, "wrong.yaml");
  const broken = join(made, "broken.yaml");
  const spec = `${folder}../specs/voice-assistant.yaml`;
  writeFileSync(good, `schema: rspp/test/v1\npipeline: ${spec}\nsteps:\n  - {say: help me}\n`);
  writeFileSync(
    wrong,
    `schema: rspp/test/v1\npipeline: ${spec}\nsteps:\n  - say: when do you open\n    expect: {text: We open at <ten> & later.}\n`,
  );
  writeFileSync(broken, `schema: rspp/test/v1\npipeline: ${spec}\nsteps:\n  - {sya: help me}\n`);

  async function run(...scripts: string[]) {
    const out = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const err = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const junit = join(made, "junit.xml");
    try {
      const status = await testCommand(scripts, { data: made, junit });
      const told = [...out.mock.calls, ...err.mock.calls].map(([text]) => String(text)).join("");
      return { status, told, xml: readFileSync(junit, "utf8") };
    } finally {
      out.mockRestore();
      err.mockRestore();
    }
  }

  test("X-08 status 0, 1 and 2; the place in the script, expected and found; one broken script keeps none back", async () => {
    expect((await run(good)).status).toBe(0);
    const failed = await run(wrong);
    expect(failed.status).toBe(1);
    expect(failed.told).toContain(
      `${wrong}:5:20: steps[0].expect.text: text\n    - We open at <ten> & later.\n    + We open at nine.`,
    );
    const all = await run(broken, good);
    expect(all.status).toBe(2);
    expect(all.told).toMatch(
      /1 script passed, 1 could not be run\n[\s\S]*4:6: error: .*unknown field "sya"[\s\S]*did you mean "say"\?/,
    );
  });

  test("X-08 JUnit: a suite per script, a case per step, failures and errors told and escaped", async () => {
    const { xml } = await run(good, wrong, broken);
    expect(xml).toMatch(
      /^<\?xml version="1.0" encoding="UTF-8"\?>\n<testsuites name="rspp test" tests="5" failures="1" errors="1" /,
    );
    expect(xml).toContain(`<testsuite name="${wrong}" tests="2" failures="1" errors="0"`);
    expect(xml).toContain(
      ':5:20: text" type="text">- We open at &lt;ten&gt; &amp; later.\n+ We open at nine.</failure>',
    );
    expect(xml).toMatch(/<error message="the script could not be run" type="input">.*unknown field &quot;sya&quot;/);
    expect(junitXml([], [{ path: "a\u0000b", problem: "\u001b" }])).not.toMatch(/[^\n\x20-\x7e]/);
  });

  test("X-08 a pipeline by name and version: as published on this machine, else what to do", async () => {
    const text = "schema: rspp/test/v1\npipeline: no-such@7\nsteps:\n  - {say: hi}\n";
    await expect(readScript("t.yaml", text, { data: made })).rejects.toThrow(
      /no-such@7 is not published on this machine\n {3}help:/,
    );
  });

  test("X-08 the table shows step, expectation and found; a difference keeps what is common", async () => {
    const report = await play(
      "voice-assistant",
      "steps:\n  - {say: when do you open, expect: {text: We open at nine.}}\n",
    );
    expect(reportLines(report).join("\n")).toMatch(/ok {2}1 say "when do you open" {2}text +We open at nine\./);
    const lines = difference(["a", "b", "c"], ["a", "x", "c"]).map(({ sign, text }) => `${sign}${text}`);
    expect(lines).toEqual([" a", "-b", "+x", " c"]);
  });
});
