import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createStream, nextInt, type RandomStream } from "@rspp/base/random";
import { type ObjectStore, objectLimits } from "../object-store.ts";
import type { StoreErrorCode } from "../store-error.ts";

// What every object store must do, whatever it stands on. Free of any test runner, so that a spec, a drill or `doctor`
// can run it.

export interface ObjectStoreCheck {
  readonly title: string;
  /** `open` gives an empty store each time. Rejects when the store fails. */
  readonly run: (open: () => Promise<ObjectStore>) => Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");
const refusedAs = (code: StoreErrorCode) => (error: unknown) =>
  typeof error === "object" && error !== null && "code" in error && error.code === code;

async function refuses(code: StoreErrorCode, what: string, call: () => Promise<unknown>): Promise<void> {
  await assert.rejects(async () => call(), refusedAs(code), what);
}

const badKeys = ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\u0000", "ä", "a$", "x".repeat(201)];
const randomRuns = 30;
const commandsPerRun = 20;

export const objectStoreChecks: readonly ObjectStoreCheck[] = [
  {
    title: "gives back what was put, whole and in part",
    run: async (open) => {
      const store = await open();
      const info = await store.put("t/s/1", bytes("hello world"));
      assert.deepEqual(info, { key: "t/s/1", bytes: 11, sha256: sha256(bytes("hello world")) });
      const text = async (part: Promise<Uint8Array>) => new TextDecoder().decode(await part);
      assert.equal(await text(store.get("t/s/1")), "hello world");
      assert.equal(await text(store.getRange("t/s/1", 6, 3)), "wor");
      assert.equal(await text(store.getRange("t/s/1", 6, 99)), "world");
      assert.equal(await text(store.getRange("t/s/1", 99, 1)), "");
      assert.deepEqual(await store.head("t/s/1"), info);
      assert.equal(await store.head("t/s"), undefined);
    },
  },
  {
    title: "keeps empty objects, and a key beside keys below it",
    run: async (open) => {
      const store = await open();
      await store.put("a", new Uint8Array(0));
      await store.put("a/b", bytes("x"));
      assert.equal((await store.get("a")).length, 0);
      assert.deepEqual(await keysOf(store, ""), ["a", "a/b"]);
    },
  },
  {
    title: "names what is missing, taken, out of bounds or no key",
    run: async (open) => {
      const store = await open();
      await store.put("k", bytes("1"));
      await refuses("not_found", "a key that is not there", () => store.get("none"));
      await refuses("conflict", "a key that is taken", () => store.put("k", bytes("2"), { ifAbsent: true }));
      assert.deepEqual([...(await store.get("k"))], [...bytes("1")]);
      const large = new Uint8Array(objectLimits.objectBytesMax + 1);
      await refuses("invalid", "an object too large", () => store.put("k", large));
      for (const key of badKeys) await refuses("invalid", `the key ${key}`, () => store.put(key, bytes("x")));
      await refuses("invalid", "a negative offset", () => store.getRange("k", -1, 1));
    },
  },
  {
    title: "of writers that ask for absence exactly one wins, and readers never see a mixture",
    run: async (open) => {
      const store = await open();
      const contents = Array.from({ length: 8 }, (_, i) => new Uint8Array(10_000).fill(i));
      const won = await Promise.allSettled(contents.map((content) => store.put("k", content, { ifAbsent: true })));
      assert.equal(won.filter(({ status }) => status === "fulfilled").length, 1);
      const reads = contents.map(async () => new Set(await store.get("k")).size);
      await Promise.all(contents.map((content) => store.put("k", content)));
      assert.deepEqual(new Set(await Promise.all(reads)), new Set([1]));
    },
  },
  {
    title: "agrees with a plain map under random commands",
    run: async (open) => {
      for (let run = 0; run < randomRuns; run++) {
        const random = createStream("object-store", run, "commands");
        const store = await open();
        const model = new Map<string, Uint8Array>();
        for (let i = 0; i < commandsPerRun; i++) await agree(store, model, random, `run ${run}, command ${i}`);
      }
    },
  },
];

async function keysOf(store: ObjectStore, prefix: string, options?: { after: string; limit: number }) {
  return (await store.list(prefix, options)).map(({ key }) => key);
}

const segments = ["a", "b", "a-b", "a.b", "A", "0", "a=1", "ab"];

function randomKey(random: RandomStream): string {
  const parts = Array.from({ length: nextInt(random, 1, 3) }, () => segments[nextInt(random, 0, segments.length - 1)]);
  return parts.join("/");
}

async function agree(store: ObjectStore, model: Map<string, Uint8Array>, random: RandomStream, at: string) {
  const key = randomKey(random);
  switch (nextInt(random, 0, 4)) {
    case 0:
    case 1: {
      const ifAbsent = nextInt(random, 0, 1) === 1;
      const content = Uint8Array.from({ length: nextInt(random, 0, 40) }, () => nextInt(random, 0, 255));
      if (ifAbsent && model.has(key)) {
        await refuses("conflict", at, () => store.put(key, content, { ifAbsent }));
        return;
      }
      assert.equal((await store.put(key, content, { ifAbsent })).sha256, sha256(content), at);
      model.set(key, content);
      return;
    }
    case 2:
      assert.equal(await store.delete(key), model.delete(key), at);
      return;
    case 3: {
      const content = model.get(key);
      if (content) assert.deepEqual([...(await store.get(key))], [...content], at);
      else await refuses("not_found", at, () => store.get(key));
      return;
    }
    default: {
      const prefix = ["", key, key.slice(0, 1)][nextInt(random, 0, 2)] ?? "";
      const after = nextInt(random, 0, 1) === 1 ? randomKey(random) : "";
      const limit = nextInt(random, 1, 5);
      const expected = [...model.keys()].filter((found) => found.startsWith(prefix) && found > after).sort();
      assert.deepEqual(await keysOf(store, prefix, { after, limit }), expected.slice(0, limit), at);
    }
  }
}
