/** The platform as a process for each service, on one database; who dies is told of and started again. */

import { fileURLToPath } from "node:url";
import type { Identity } from "@rspp/host/peers";
import { signalled } from "@rspp/host/process";
import type { ReadyLine } from "@rspp/host/start";
import type { RpcConnection } from "@rspp/rpc/clients";
import type { Database } from "@rspp/store/database";
import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { Child, ChildNotReady } from "./child.ts";
import { openPlatformDatabase } from "./database.ts";
import { childFailure, startFailure } from "./failure.ts";
import { Names } from "./names.ts";
import { connectAs, isServing, ownIdentity } from "./peer.ts";
import {
  type Addresses,
  addressOf,
  environmentOf,
  flagsOf,
  localUrl,
  portsOf,
  replicaOf,
  replicasOf,
  stagesOf,
  stopStages,
  type UpOptions,
  type UpService,
} from "./plan.ts";
import { untilReady } from "./ready.ts";
import { startTogether } from "./stage.ts";
import { note, tellPlatform, tellService } from "./tell.ts";
import { publishTemplates } from "./templates.ts";

/** Run in place of the runtime's own `main.ts` where the providers are within it. */
const runtimeWithProviders = fileURLToPath(new URL("runtime-main.ts", import.meta.url));

/** Closing takes this long at most after the grace of the calls. */
const closeMs = 12_000;

/** @returns the exit status, once it was stopped. @throws CommandError when it does not start; nothing is left running. */
export async function upProcesses(options: UpOptions): Promise<number> {
  const stopWanted = signalled();
  const fleet = new Fleet(options);
  try {
    await fleet.start();
  } catch (failure) {
    await fleet.stop();
    throw failure;
  }
  const lost = await Promise.race([stopWanted.then(() => null), fleet.lost]);
  if (lost !== null) note(`${lost} dies again and again: everything stops`);
  else note("stopping: no new calls; running ones may finish for a moment");
  const inOrder = await fleet.stop();
  return inOrder && lost === null ? EXIT_OK : EXIT_FAILED;
}

class Fleet {
  /** A service that is not started again. */
  readonly lost: Promise<UpService>;
  #lose: (service: UpService) => void = () => undefined;
  readonly #options: UpOptions;
  /** By service, and number from 1. */
  readonly #children = new Map<UpService, Child[]>();
  readonly #names = new Names();
  #addresses: Addresses = {};
  #database: Database | null = null;
  #identity: Identity | null = null;
  readonly #connections = new Map<string, RpcConnection>();

  constructor(options: UpOptions) {
    this.#options = options;
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
  }

  async start(): Promise<void> {
    this.#identity = await ownIdentity(this.#options);
    const database = await openPlatformDatabase(this.#options, (away) =>
      note(away ? "the database is away; it is being started again" : "the database is back"),
    ).catch((failure: unknown) => {
      throw startFailure("the database", failure);
    });
    this.#database = database;
    let published: string[] = [];
    for (const stage of stagesOf(this.#options)) {
      const all = stage.flatMap((service) =>
        Array.from({ length: replicasOf(service, this.#options) }, (_, at) => ({ service, n: at + 1 })),
      );
      await startTogether(all.map(({ service, n }) => this.#startOne(service, n, database.url)));
      const { registry } = this.#addresses;
      if (stage.includes("registry") && registry !== undefined)
        published = await publishTemplates(this.#connect(registry));
    }
    await untilReady(() => this.#allReady());
    const websocket = this.#children.get("transport-websocket")?.[0]?.ready?.addresses.websocket ?? "";
    const { registry = "" } = this.#addresses;
    tellPlatform({ registry, websocket, published, readyMs: performance.now() }, this.#options);
  }

  async #startOne(service: UpService, n: number, databaseUrl: string): Promise<void> {
    // With the ports that are found, so that a service that is started again is where it was.
    let settled = replicaOf(service, this.#options, n);
    const child = new Child({
      service,
      env: environmentOf(service, process.env, databaseUrl),
      flags: () => flagsOf(service, settled, this.#addresses),
      ...(service === "runtime" && this.#options.gateway === "library" ? { main: runtimeWithProviders } : {}),
      onBack: (ready) => this.#back(ready),
      onDied: (why, lastLines, againMs) => this.#died(service, why, lastLines, againMs),
    });
    const children = this.#children.get(service) ?? [];
    children[n - 1] = child;
    this.#children.set(service, children);
    const ready = await child.start().catch((failure: unknown) => {
      throw failure instanceof ChildNotReady
        ? childFailure(service, failure.status, failure.lastLines)
        : startFailure(service, failure);
    });
    this.#names.take(service, ready.instance, n);
    this.#addresses = { ...this.#addresses, ...addressOf(service, ready) };
    settled = { ...settled, ports: new Map([...settled.ports, ...portsOf(service, ready)]) };
    tellService(ready, this.#options);
  }

  async #allReady(): Promise<boolean> {
    const states = [...this.#children.values()]
      .flat()
      .map(({ ready }) => isServing(this.#connect(localUrl(ready?.url ?? ""))));
    return (await Promise.all(states)).every((serving) => serving);
  }

  #connect(url: string): RpcConnection {
    const known = this.#connections.get(url) ?? connectAs(url, this.#identity);
    this.#connections.set(url, known);
    return known;
  }

  #back(ready: ReadyLine): void {
    note(`${ready.service} is back`);
    tellService(ready, this.#options);
  }

  #died(service: UpService, why: string, lastLines: readonly string[], againMs: number | null): void {
    const next = againMs === null ? "it is not started again" : `it is started again in ${againMs} ms`;
    const log = lastLines.length === 0 ? "" : `. Its last lines:\n${lastLines.map((line) => `  ${line}`).join("\n")}`;
    note(`${service} ${why}; ${next}${log}`);
    if (againMs === null) this.#lose(service);
  }

  /** The database last. */
  async stop(): Promise<boolean> {
    let inOrder = true;
    for (const stage of stopStages) {
      const all = stage.flatMap((service) => (this.#children.get(service) ?? []).map((child) => ({ service, child })));
      const ends = await Promise.all(all.map(({ child }) => child.stop(this.#options.stopGraceMs + closeMs)));
      for (const [at, end] of ends.entries()) {
        if (end === undefined || (end.status === 0 && end.signal === null)) continue;
        inOrder = false;
        note(`${all[at]?.service} ended with status ${end.status ?? end.signal}: something had to be cut off`);
      }
    }
    this.#identity?.close();
    await this.#database?.close();
    return inOrder;
  }
}
