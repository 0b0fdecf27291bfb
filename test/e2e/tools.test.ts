/** The tool-using pipeline as people run it: a question in, a webhook and an MCP server asked, the answer heard. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startMcpServer } from "@rspp/provider-gateway/testing/mcp-server";
import { says, startWebhook } from "@rspp/provider-gateway/testing/tool-servers";
import { expect, onTestFinished, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import { jsonOf, lastSpeech, plain, pocketsphinx, recognise, rspp, tempDir } from "./rspp.ts";

interface Ran {
  session: string;
  turns: { origin: string; user: string; said: string; terminal: string }[];
  reply: string;
}

const shipped = join(import.meta.dirname, "../../pipelines/specs/tool-assistant.yaml");

test("X-03 speech in, a webhook and an MCP server asked, speech out; recorded, replayed and told in words", async () => {
  const [hook, mcp] = await Promise.all([startWebhook(), startMcpServer()]);
  onTestFinished(async () => void (await Promise.all([hook.close(), mcp.close()])));
  hook.answer = says({ opens: "nine" });
  const dir = tempDir();
  const text = await readFile(shipped, "utf8");
  const spec = join(dir, "tools.yaml");
  await writeFile(
    spec,
    text.replaceAll("http://127.0.0.1:8791", hook.origin).replaceAll("http://127.0.0.1:8792", mcp.origin),
  );
  const data = join(dir, "data");
  const wavs = ["hours", "forward"].flatMap((question) => ["--wav", questionPath(question)]);
  const args = ["run", spec, "--fast", "--json", "--record", "L2", "--data", data, "--out", join(dir, "reply.wav")];
  const env = { RSPP_TOOL_ORIGINS: `${hook.origin},${mcp.origin}` };
  const end = await rspp([...args, ...wavs], { env });
  expect(end.status, end.all).toBe(0);
  const ran = jsonOf<Ran>(end);
  expect(ran.turns.map(({ user, said }) => [user, plain(said)])).toEqual([
    ["when do you open", "we open at nine"],
    ["go forward ten meters", "going forward ten meters"],
  ]);
  expect(hook.hits.map(({ method, url }) => `${method} ${url}`)).toEqual(
    ["GET /tool?day=today"].map((hit) => hit.replace("/tool", "/opening-hours")),
  );
  expect(mcp.hits.calls).toEqual([`directions ${ran.session}/tool/2/1`]);
  const replayed = await rspp(["replay", ran.session, "--data", data]);
  expect(replayed.all).toContain("(texts recomputed): identical");
  const told = await rspp(["timeline", ran.session, "--data", data, "--explain"]);
  expect(told.all, told.all).toMatch(/tool opening_hours \(tool\/http\) answered after \d/);
  expect(told.all).not.toContain("today");
  if (pocketsphinx === undefined) return;
  expect(await recognise(await lastSpeech(await readFile(ran.reply)))).toBe("going forward ten meters");
});
