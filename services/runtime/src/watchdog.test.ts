import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

function run(mode: string): Promise<{ signal: string | null; code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL("./watchdog-child.ts", import.meta.url)), mode]);
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, out, err }));
  });
}

test("a process whose event loop hangs is killed with one line on stderr; a healthy one is left alone", async () => {
  const [hung, healthy] = await Promise.all([run("hang"), run("end")]);
  expect(hung).toMatchObject({ signal: "SIGKILL", out: "alive\n" });
  expect(JSON.parse(hung.err)).toMatchObject({ level: "fatal", limit_ms: 400 });
  expect(healthy).toEqual({ code: 0, signal: null, out: "alive\n", err: "" });
});
