/** Who answers at the platform's addresses, how fast, and who sits on its ports. */
import { createServer } from "node:net";
import type { DoctorFinding } from "./finding.ts";

export interface DoctorService {
  readonly name: string;
  readonly url: string;
  /** The address was named by hand: then it must answer. */
  readonly wanted: boolean;
}

const answerMs = 3_000;

/** Each service's `/readyz`: latency, readiness, and what it lacks. */
export async function serviceFinding({ name, url, wanted }: DoctorService): Promise<DoctorFinding> {
  const about = { group: "platform", name };
  const absent = wanted ? "fail" : "missing";
  const startMs = performance.now();
  let answer: Response;
  try {
    answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(answerMs) });
  } catch {
    const remedy = `start it (\`rspp up\`), or name its address with --${name}`;
    return { ...about, state: absent, found: `${url} does not answer`, remedy };
  }
  const latencyMs = performance.now() - startMs;
  const text = await answer.text().catch(() => "");
  const status = statusOf(text);
  if (status === null)
    return {
      ...about,
      state: "fail",
      found: `${url} is another program`,
      remedy: `give it another port, or name the ${name} with --${name}`,
    };
  const told = { ...about, latency_ms: Math.round(latencyMs * 100) / 100 };
  if (answer.ok) return { ...told, state: "ok", found: url, remedy: "" };
  return { ...told, state: "fail", found: `${url} is not ready: ${status}`, remedy: "see its log on standard error" };
}

/** What `/readyz` of a service says; null for anything else. */
function statusOf(text: string): string | null {
  try {
    const told: unknown = JSON.parse(text);
    if (typeof told !== "object" || told === null || !("status" in told) || typeof told.status !== "string")
      return null;
    const rest = Object.entries(told).filter(([key]) => key !== "status");
    return [told.status, ...rest.map(([key, value]) => `${key} ${JSON.stringify(value)}`)].join(", ");
  } catch {
    return null;
  }
}

/** Whether `rspp up` could listen; a port that a service of the platform holds is no problem. */
export async function portFinding(name: string, port: number, held: boolean): Promise<DoctorFinding> {
  const about = { group: "ports", name: `${port} ${name}` };
  if (held) return { ...about, state: "ok", found: "in use by the platform", remedy: "" };
  const code = await bindCode(port);
  if (code === "") return { ...about, state: "ok", found: "free", remedy: "" };
  const found = code === "EADDRINUSE" ? "in use by another program" : `cannot be opened (${code})`;
  return { ...about, state: "fail", found, remedy: `stop what uses it, or use others: \`rspp up --port-base N\`` };
}

function bindCode(port: number): Promise<string> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? "error"));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve("")));
  });
}
