import { createServer } from "node:http";
import { createSystemClock } from "@rspp/host/system-clock";
import { expect, onTestFinished, test, vi } from "vitest";
import { openOwnProviders } from "./own-providers.ts";

test("NF-011 a published pipeline can name no other secret of the platform's environment", async () => {
  const seen: (string | undefined)[] = [];
  const vendor = createServer((message, response) => {
    seen.push(message.headers.authorization);
    response.writeHead(401).end();
  });
  await new Promise<void>((resolve) => vendor.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void vendor.close());
  const address = vendor.address();
  vi.stubEnv("OPENAI_BASE_URL", `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`);
  vi.stubEnv("OPENAI_API_KEY", "sk-of-the-platform");
  vi.stubEnv("RSPP_UP_DATABASE_URL", "postgres://user:secret@host/db");
  onTestFinished(() => void vi.unstubAllEnvs());
  const providers = await openOwnProviders(createSystemClock());
  onTestFinished(() => providers.close());
  const ask = (settings: Record<string, string>): Promise<string> =>
    new Promise((resolve) => {
      const place = { invocationId: "i", attemptTimeoutMs: 0, idempotencyKey: "i", sessionId: "s", epoch: 1 };
      const invocation = providers.open(
        { ...place, modality: "llm", provider: "openai/chat", settings, turn: 0, generation: 0 },
        { chunk: () => undefined, outcome: ({ kind }) => resolve(kind) },
      );
      invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] });
    });
  expect(await ask({ api_key: "env:RSPP_UP_DATABASE_URL" })).toBe("unauthorized");
  expect(seen).toEqual([]);
  await ask({});
  expect(seen).toEqual(["Bearer sk-of-the-platform"]);
});
