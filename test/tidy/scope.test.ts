/** What RSPP stays out of (NF-019 … NF-023): by what it depends on, what rooms it has, and what its contracts name. */
import { describe, expect, test } from "vitest";
import { readText, repositoryFiles } from "./repository.ts";

/** Packages by name, whole or by a scope that ends in a slash; of each scope the families that are widely used. */
const OUTSIDE = {
  "NF-019 media stack":
    /^(?:mediasoup|werift|@roamhq\/wrtc|node-webrtc|wrtc|fluent-ffmpeg|@ffmpeg\/|ffmpeg-static|gstreamer)/,
  "NF-020 agent framework":
    /^(?:langchain|@langchain\/|langgraph|llamaindex|@llamaindex\/|@openai\/agents|@mastra\/|autogen|crewai|@crewai\/|botpress|rasa|genkit|@genkit-ai\/|ai$|semantic-kernel)/,
  "NF-021 model quality and training":
    /^(?:@tensorflow\/|brain\.js|ml5|@xenova\/transformers|@huggingface\/transformers|onnxruntime-training|torch|deepspeech|synaptic|promptfoo|deepeval|ragas|wandb|mlflow)/,
  "NF-022 business systems":
    /^(?:stripe|@stripe\/|jsforce|@hubspot\/|zendesk|node-zendesk|twilio-flex|shopify|@shopify\/|pipedrive|intercom|servicenow|@salesforce\/|quickbooks|xero-node)/,
} as const;
type Scope = keyof typeof OUTSIDE;

const scopes = Object.keys(OUTSIDE) as Scope[];
const outside = (scope: Scope, names: readonly string[]): string[] => names.filter((name) => OUTSIDE[scope].test(name));

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
}

/** Strangers' clients that tests call RSPP with, unchanged. They are installed for the tests alone and never shipped. */
const CLIENTS_IN_TESTS = new Set(["@openai/agents-realtime", "@openai/agents-core"]);

function textOf(path: string): string {
  const text = readText(path);
  if (text === undefined) throw new Error(`${path} is not there`);
  return text;
}

/** Everything that is installed, own rooms aside: what a dependency brings with it, too. */
function installed(): string[] {
  const { packages } = JSON.parse(textOf("package-lock.json")) as Lockfile;
  const named = Object.entries(packages).map(
    ([path, { dev = false }]) => [path.split("node_modules/").at(-1) ?? "", dev] as const,
  );
  const asked = named.filter(([name, dev]) => !(dev && CLIENTS_IN_TESTS.has(name))).map(([name]) => name);
  return [...new Set(asked)].filter((name) => name !== "" && !name.startsWith("@rspp/"));
}

/** Words of services, methods and rooms that would be such a system's own. */
const WORDS = {
  "NF-019 media stack": /\b(?:Sfu|Turn(?:Server|Relay)|IceCandidate|MediaRouter)\b/,
  "NF-020 agent framework": /\b(?:Planner|AgentMemory|VectorStore|Retriever|Crew|Swarm)\w*\b/,
  "NF-021 model quality and training": /\b(?:Train|FineTune|Finetune|Dataset|Epochs|Hyperparameter|Leaderboard)\w*\b/,
  "NF-022 business systems": /\b(?:Invoice|Ticketing|Crm|Customer|Appointment|Billing|Order)(?:Service|System)?\b/,
} as const satisfies Record<Scope, RegExp>;

const protos = (): string[] => repositoryFiles().filter((path) => path.startsWith("proto/") && path.endsWith(".proto"));
/** Names declared by the contracts, comments aside. */
const declared = (path: string): string[] =>
  [...textOf(path).matchAll(/^\s*(?:service|rpc|message|enum)\s+(\w+)/gm)].map((found) => found[1] ?? "");

describe("what RSPP stays out of", () => {
  test.each(scopes)("%s: nothing of the kind is installed", (scope) => {
    const names = installed();
    expect(names.length).toBeGreaterThan(50);
    expect(outside(scope, names)).toEqual([]);
  });

  test.each(scopes)("%s: no contract declares one", (scope) => {
    const names = protos().flatMap(declared);
    expect(names.length).toBeGreaterThan(100);
    expect(names.filter((name) => WORDS[scope].test(name))).toEqual([]);
  });

  test("NF-019 NF-020 NF-021 NF-022 rooms are those of a runtime, its control plane and its tools", () => {
    const rooms = new Set(
      repositoryFiles()
        .map((path) => path.split("/"))
        .filter(
          ([top, room, more]) => /^(?:libs|services)$/.test(top ?? "") && room !== undefined && more !== undefined,
        )
        .map(([top, room]) => `${top}/${room}`),
    );
    const odd = [...rooms].filter((room) => /agent|train|eval|dataset|crm|billing|ticket|sfu|webrtc/.test(room));
    expect([rooms.size > 15, odd]).toEqual([true, []]);
  });

  test.each([
    ["NF-019 media stack", "mediasoup"],
    ["NF-020 agent framework", "@langchain/core"],
    ["NF-021 model quality and training", "@tensorflow/tfjs-node"],
    ["NF-022 business systems", "jsforce"],
  ] as const)("%s: %s would be found; what is installed for other ends is not", (scope, name) => {
    expect(outside(scope, [name, "ws", "yaml", "onnxruntime-node", "@modelcontextprotocol/sdk"])).toEqual([name]);
  });
});
