import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "@rspp/rpc/log";
import { expect, onTestFinished, test } from "vitest";
import { providerKey } from "./definition.ts";

test("F-061 a provider's key is taken up when it was changed, the last stays while it cannot be read, no line holds one", async () => {
  const dir = mkdtempSync(join(tmpdir(), "rspp-key-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "openai");
  const reference = "mount:openai";
  const lines: string[] = [];
  const destination = { write: (line: string): void => void lines.push(line) };
  const log = createLog({ service: "test", level: "debug", instance: "t", destination });
  writeFileSync(path, "PLANTEDONE\n");
  const env = { RSPP_SECRETS_DIR: dir, OTHER: "PLANTEDOTHER" };
  const key = await providerKey({ openai_api_key: reference }, { env, log });
  expect(key.secret(reference)).toBe("PLANTEDONE");
  // A session that opens now asks again, and is given what is there.
  writeFileSync(path, "PLANTEDTWO\n");
  await key.refresh();
  expect(key.secret(reference)).toBe("PLANTEDTWO");
  rmSync(path);
  await key.refresh();
  expect(key.secret(reference)).toBe("PLANTEDTWO");
  // Pipelines come from tenants: they read no other secret of this process.
  expect(key.secret("env:OTHER")).toBeUndefined();
  expect(lines.join("\n")).toContain("cannot be read");
  expect(lines.join("\n")).not.toContain("PLANTED");
});
