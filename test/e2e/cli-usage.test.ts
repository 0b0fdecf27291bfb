/** `rspp` as people meet it without a platform: help, wrong usage, an address where nobody answers. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import { problemsOf } from "./cli-rig.ts";
import { type Finished, jsonOf, rspp, tempDir, template } from "./rspp.ts";

const nobody = "http://127.0.0.1:9";
const question = questionPath("hours");

/** Each command that talks to a service, with what it needs; the service it asks. */
const networked: readonly (readonly [string, string, readonly string[]])[] = [
  ["publish", "registry", [template]],
  ["validate", "registry", [template]],
  ["pipelines", "registry", []],
  ["route", "registry", ["voice-assistant"]],
  ["sessions", "registry", []],
  ["schema", "registry", []],
  ["talk", "registry", ["voice-assistant", "--wav", question]],
  ["watch", "runtime", ["ses_1"]],
  ["say", "runtime", ["ses_1", "hello"]],
  ["cancel", "runtime", ["ses_1"]],
  ["end", "runtime", ["ses_1"]],
  ["timeline", "replay", ["ses_1"]],
  ["replay", "replay", ["ses_1"]],
  ["verify", "replay", ["ses_1"]],
];

async function commands(): Promise<string[]> {
  const { stdout } = await rspp(["--help"]);
  return [...stdout.matchAll(/^ {2}([a-z]+)(?: [<[]|\s{2,})/gm)]
    .map(([, name = ""]) => name)
    .filter((n) => n !== "rspp");
}

describe("help", { timeout: 180_000 }, () => {
  test("every command has a help with what it is for, its options and examples, and exits 0", async () => {
    const names = await commands();
    expect(names.length).toBeGreaterThan(20);
    expect(names).toEqual(expect.arrayContaining(["up", "docs", "doctor", ...networked.map(([name]) => name)]));
    const helps = await Promise.all(names.map((name) => rspp([name, "--help"])));
    for (const [i, help] of helps.entries()) {
      const name = names[i] ?? "";
      expect(problemsOf(help, 0)).toBe("");
      expect(help.stdout, name).toMatch(new RegExp(`^Usage: rspp ${name}`));
      expect(help.stdout, name).toMatch(/Examples:\n {2}\$ /);
      if (name !== "completion") expect(help.stdout, name).toContain("--json");
      expect(help.stdout, name).not.toContain("\u001b");
    }
    const main = await rspp(["--help"]);
    for (const group of ["Start here:", "Pipelines:", "Sessions:", "Recordings:", "Reference:"])
      expect(main.stdout).toContain(group);
    expect(main.stdout).toMatch(
      /0 done, 1 ran and failed, 2 wrong usage or bad input, 3 the platform cannot be reached/,
    );
  });

  test("an unknown option, command, argument or address is status 2, named, with what is there", async () => {
    const names = await commands();
    const needed: Record<string, string[]> = { run: ["--wav", question] };
    const wrongs = await Promise.all(names.map((name) => rspp([name, ...(needed[name] ?? []), "--no-such-option"])));
    for (const [i, wrong] of wrongs.entries()) {
      const name = names[i] ?? "";
      expect(problemsOf(wrong, 2)).toBe("");
      expect(wrong.stderr, name).toMatch(/unknown option '--no-such-option'/);
      expect(wrong.stdout).toBe("");
    }
    const cases: [string[], RegExp][] = [
      [["tlak"], /unknown command 'tlak'[\s\S]*Did you mean talk/],
      [["sessions", "--registry", "localhost"], /--registry <url>[\s\S]*http:\/\/ or https:\/\//],
      [["sessions", "--state", "sleeping"], /sleeping is none of connecting, active, draining, ended/],
      [["watch", "s", "--kind", "video"], /video is none of audio, text, control/],
      [["timeline", "s", "--turn", "zero"], /numbered from 1/],
      [["timeline", "s", "--kind", "film"], /film is none of turn, utterance/],
      [["sessions", "--tenant", ""], /1 to 64 characters/],
      [["publish", template, "--as", "none"], /a whole number of 1/],
      [["route", "No Name"], /is no pipeline[\s\S]*help: /],
      [["talk", "--mic", "--wav", question], /cannot be used with/],
      [["talk"], /nothing would be said[\s\S]*help: /],
      [["talk", "--wav", question, "--endpoint", "ws://127.0.0.1:9"], /belong together/],
      [["cancel", "s", "--node", "llm", "--all"], /name one scope/],
      [["completion", "tcsh"], /bash, zsh, fish/],
      [["schema", "--check", "x"], /--check needs descriptors/],
      [["features", "F-9999"], /no test is known for F-9999/],
    ];
    const ends = await Promise.all(cases.map(([args]) => rspp(args)));
    for (const [i, [args, words]] of cases.entries()) {
      const end = ends[i] as Finished;
      expect(problemsOf(end, 2), args.join(" ")).toBe("");
      expect(end.stderr, args.join(" ")).toMatch(words);
    }
  });
});

describe("F-131 nobody answers", () => {
  test.each(networked)("%s: status 3, who was asked where, and what to do", async (name, service, args) => {
    const url = [`--${service}`, nobody];
    const [plain, json] = await Promise.all([rspp([name, ...args, ...url]), rspp([name, ...args, ...url, "--json"])]);
    expect(problemsOf(plain, 3)).toBe("");
    expect(plain.stderr).toMatch(new RegExp(`the ${service} cannot be reached at ${nobody}`));
    expect(plain.stderr).toMatch(/help: .*rspp up/);
    expect(plain.stdout).toBe("");
    expect(json.status).toBe(3);
    expect(json.stdout.trim().split("\n").length).toBe(1);
    expect(jsonOf(json)).toMatchObject({ ok: false, status: 3, reason: "unreachable", metadata: { url: nobody } });
  });

  test("something else answers: it is said to be no service of this platform", async () => {
    const server = createServer((_, response) => void response.writeHead(404).end("not here"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    const end = await rspp(["sessions", "--registry", url]);
    expect(problemsOf(end, 3)).toBe("");
    expect(end.stderr).toMatch(/registry/);
    const doctor = await rspp(["doctor", "--registry", url, "--json", "--data", tempDir()]);
    expect(doctor.status).toBe(1);
    expect(doctor.stdout).toMatch(/is another program/);
  });

  test("where no place is named, this machine and the service are both looked at, and both are named", async () => {
    const end = await rspp(["timeline", "ses_1"], { env: { HOME: tempDir() } });
    expect([2, 3]).toContain(end.status);
    expect(end.stderr).toMatch(/help: /);
  });
});

describe("NF-011 tokens", () => {
  test("a token that stands on the command line itself is refused and repeated nowhere", async () => {
    const token = "eyJhbGciOiJFZERTQSJ9.c2VjcmV0.signature";
    const [plain, talk] = await Promise.all([
      rspp(["sessions", "--token", token, "--registry", nobody]),
      rspp(["talk", "--wav", question, "--endpoint", "ws://127.0.0.1:9/", "--session-token", token]),
    ]);
    for (const end of [plain, talk]) {
      expect(problemsOf(end, 2)).toBe("");
      expect(end.stderr).toMatch(/env:NAME or file:\/path/);
      expect(end.all).not.toContain(token);
    }
    const missing = await rspp(["sessions", "--token", "env:RSPP_NO_SUCH", "--registry", nobody]);
    expect(problemsOf(missing, 2)).toBe("");
    expect(missing.stderr).toMatch(/env:RSPP_NO_SUCH is not set/);
  });
});

test("talk --mic where nothing records: what to install, before any session is asked for", async () => {
  const end = await rspp(["talk", "--mic", "--registry", nobody], { env: { PATH: tempDir() } });
  expect(problemsOf(end, 2)).toBe("");
  expect(end.stderr).toMatch(
    /neither arecord nor sox is installed[\s\S]*help: .*apt-get install alsa-utils.*--wav FILE/,
  );
});

describe("F-126 lint and validate without a platform", () => {
  test("relaxed says, strict refuses; --json is one object with file, line, column and remedy", async () => {
    const dir = tempDir();
    const spec = join(dir, "agent.yaml");
    const source = readFileSync(template, "utf8").replace(/level: L0/, "level: L2");
    writeFileSync(
      spec,
      source.replace("- local/pocketsphinx\n        - sim/stt", "- sim/stt\n        - local/pocketsphinx"),
    );
    const [relaxed, strict, offline, json, good] = await Promise.all([
      rspp(["lint", spec]),
      rspp(["lint", spec, "--strict"]),
      rspp(["validate", spec, "--offline", "--strict"]),
      rspp(["lint", spec, "--strict", "--json"]),
      rspp(["lint", template, "--strict"]),
    ]);
    expect(problemsOf(relaxed, 0)).toBe("");
    expect(relaxed.stdout).toMatch(/ok \(voice-assistant@1, [0-9a-f]{12}, 2 warnings\)/);
    expect(relaxed.stderr).toMatch(
      /agent\.yaml:\d+:\d+: warning: nodes\[2\]\.provider\.candidates: node stt tries the simulation/,
    );
    expect(problemsOf(strict, 1)).toBe("");
    expect(problemsOf(offline, 2)).toBe("");
    expect(problemsOf(good, 0)).toBe("");
    const told = jsonOf<{ ok: boolean; findings: { severity: string; line: number; remedy: string }[] }>(json);
    expect(json.status).toBe(1);
    expect(told.findings.map(({ severity }) => severity)).toEqual(["warning", "warning"]);
    expect(told.findings.every(({ line, remedy }) => line > 1 && remedy !== "")).toBe(true);
  });

  test("a spec with a secret written into it is not sent anywhere", async () => {
    const dir = tempDir();
    const spec = join(dir, "agent.yaml");
    const secret = "sk-abcdefghijklmnopqrstuvwx";
    writeFileSync(
      spec,
      readFileSync(template, "utf8").replace("language: en-US\n        #", `api_key: ${secret}\n        #`),
    );
    // Nobody answers there: status 2 instead of 3 tells that nobody was asked.
    for (const command of ["publish", "validate"]) {
      const end = await rspp([command, spec, "--registry", nobody]);
      expect(problemsOf(end, 2), command).toBe("");
      expect(end.stderr).toMatch(/agent\.yaml:\d+:\d+: error: .*api_key[\s\S]*nothing was sent/);
      expect(end.all).not.toContain(secret);
    }
  });
});

describe("this machine", () => {
  test("doctor: each part with what was found; a folder that cannot be written and an address that must answer fail", async () => {
    const dir = tempDir();
    const [plain, json, wanted] = await Promise.all([
      rspp(["doctor", "--data", dir]),
      rspp(["doctor", "--data", dir, "--json"]),
      rspp(["doctor", "--data", dir, "--replay", nobody]),
    ]);
    for (const part of ["Node", "pocketsphinx", "silero", "database", "data folder", "disk space", "registry"])
      expect(plain.stdout).toContain(part);
    const { findings } = jsonOf<{ findings: { name: string; state: string; remedy: string }[] }>(json);
    expect(findings.filter(({ state, remedy }) => state !== "ok" && remedy === "")).toEqual([]);
    expect(wanted.status, wanted.all).toBe(1);
    expect(wanted.stdout).toMatch(/!! {2}replay .*does not answer\n +help: /);
    if (process.getuid?.() === 0) return;
    const closed = join(dir, "closed");
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    const denied = await rspp(["doctor", "--data", closed]);
    expect(denied.status).toBe(1);
    expect(denied.stdout).toMatch(/cannot be written/);
  });

  test("completion: the shell takes the script, and completes commands, options and their words", async () => {
    const script = join(tempDir(), "rspp.bash");
    writeFileSync(script, (await rspp(["completion", "bash"])).stdout);
    const complete = (...words: string[]): string[] => {
      const line = words.map((word) => `'${word}'`).join(" ");
      const run = `source ${script}; COMP_WORDS=(rspp ${line}); COMP_CWORD=${words.length}; _rspp; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return execFileSync("bash", ["-c", run], { encoding: "utf8" }).trim().split("\n");
    };
    expect(complete("time")).toEqual(["timeline"]);
    expect(complete("timeline", "--ex")).toEqual(["--explain", "--export"]);
    expect(complete("timeline", "--lane", "")).toEqual(["control", "data"]);
    for (const shell of ["zsh", "fish"]) expect((await rspp(["completion", shell])).stdout).toContain("timeline");
  });

  test("F-129 docs: a page for each package, the spec, errors and commands", async () => {
    const dir = join(tempDir(), "reference");
    const end = await rspp(["docs", "--out", dir, "--json"]);
    expect(problemsOf(end, 0)).toBe("");
    const pages = readdirSync(dir);
    expect(pages).toEqual(expect.arrayContaining(["index.md", "pipeline-spec.md", "errors.md", "commands.md"]));
    expect(jsonOf<{ pages: string[] }>(end).pages.sort()).toEqual(pages.sort());
    expect(readFileSync(join(dir, "rspp.registry.v1.md"), "utf8")).toMatch(/CreateRoute[\s\S]*buf curl/);
    expect(existsSync(join(dir, "rspp.replay.v1.md"))).toBe(true);
  });

  test("features: numbers, proofs and the word of the last run", async () => {
    const end = await rspp(["features", "F-125", "--json"]);
    expect(jsonOf<{ features: { tests: { test: string }[] }[] }>(end).features[0]?.tests[0]?.test).toContain("F-125");
    const all = await rspp(["features"]);
    expect(all.stdout).toMatch(/^FEATURE +STATUS +LEVEL +PROVED BY\n/);
    const whole = jsonOf<{ features: object[] }>(await rspp(["features", "F-018", "--json"])).features[0];
    const negative = { test: expect.stringContaining("F-018"), status: expect.any(String) };
    expect(whole).toMatchObject({ determinism: "D2", negative, measure: expect.stringContaining("route_decision") });
  });
});

describe("recordings on this machine", { timeout: 180_000 }, () => {
  test("F-022 timeline, verify, replay and export of what `rspp demo` recorded; what is not there is status 2", async () => {
    const dir = tempDir();
    const data = join(dir, "d");
    const demo = await rspp(["demo", "--once", "--fast", "--json", "--data", data, "--out", join(dir, "o.wav")]);
    expect(problemsOf(demo, 0)).toBe("");
    const { session } = jsonOf<{ session: string }>(demo);
    const at = ["--data", data];
    const [timeline, explained, json, verified, exported, unknown] = await Promise.all([
      rspp(["timeline", session, ...at]),
      rspp(["timeline", session, ...at, "--explain", "--turn", "2"]),
      rspp(["timeline", session, ...at, "--json", "--kind", "invocation", "--node", "tts"]),
      rspp(["verify", session, ...at, "--json"]),
      rspp(["timeline", session, ...at, "--export", join(dir, "s.jsonl")]),
      rspp(["timeline", "ses_unknown", ...at]),
    ]);
    expect(problemsOf(timeline, 0)).toBe("");
    expect(timeline.stdout).toMatch(/turn 1 [\s\S]*turn 2 [\s\S]*turn 3 /);
    expect(timeline.stdout).toMatch(/█/);
    expect(timeline.stdout).toMatch(/voice to voice \d/);
    expect(timeline.stdout).toMatch(/cancel to fence \d/);
    expect(explained.stdout).toMatch(/turn 2 /);
    expect(explained.stdout).not.toMatch(/turn 3 {2}/);
    expect(explained.stdout).not.toMatch(/█/);
    expect(explained.stdout.split("\n").filter((line) => /^ {2}[A-Z]/.test(line)).length).toBeGreaterThan(2);
    const { turns } = jsonOf<{ turns: { spans: { kind: string; node: string }[] }[] }>(json);
    expect(turns.length).toBe(3);
    expect(new Set(turns.flatMap(({ spans }) => spans.map(({ kind, node }) => `${kind} ${node}`)))).toEqual(
      new Set(["invocation tts"]),
    );
    expect(jsonOf(verified)).toMatchObject({ ok: true, chain_intact: true, complete: true, turns_with_evidence: 3 });
    expect(problemsOf(exported, 0)).toBe("");
    expect(readFileSync(join(dir, "s.jsonl"), "utf8").trim().split("\n").length).toBeGreaterThan(100);
    expect(problemsOf(unknown, 2)).toBe("");
    expect(unknown.stderr).toMatch(/ses_unknown: not in this spool[\s\S]*help: /);
  });
});
