/** The platform in one process: the same services as apart, which call one another without sockets where they can. */

import { tuneCollector } from "@rspp/host/collector";
import type { ServiceFields } from "@rspp/host/common-fields";
import { resolveConfig } from "@rspp/host/config";
import { signalled } from "@rspp/host/process";
import type { PeerService, ServiceDefinition } from "@rspp/host/service";
import { type RunningService, startService } from "@rspp/host/start";
import type { Database } from "@rspp/store/database";
import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { openPlatformDatabase } from "./database.ts";
import { loadDefinitions } from "./definitions.ts";
import { configFailure, startFailure } from "./failure.ts";
import { Names } from "./names.ts";
import {
  type Addresses,
  addressOf,
  flagsOf,
  localUrl,
  stagesOf,
  stopStages,
  type UpOptions,
  type UpService,
} from "./plan.ts";
import { untilReady } from "./ready.ts";
import { startTogether } from "./stage.ts";
import { note, tellPlatform, tellService } from "./tell.ts";
import { publishTemplates } from "./templates.ts";

/** Closing the database and the spools may take this long after the last call. */
const closeMs = 15_000;

/** @returns the exit status, once it was stopped. @throws CommandError when it does not start; nothing is left running. */
export async function upInProcess(options: UpOptions): Promise<number> {
  tuneCollector();
  const stopWanted = signalled();
  const platform = new Platform(options);
  try {
    await platform.start();
  } catch (failure) {
    await platform.stop(0);
    throw failure;
  }
  await stopWanted;
  note("stopping: no new calls; running ones may finish for a moment");
  setTimeout(() => process.exit(EXIT_FAILED), options.stopGraceMs + closeMs).unref();
  return (await platform.stop(options.stopGraceMs)) ? EXIT_OK : EXIT_FAILED;
}

class Platform {
  readonly #options: UpOptions;
  readonly #running = new Map<UpService, RunningService>();
  readonly #names = new Names();
  #addresses: Addresses = {};
  #database: Database | null = null;

  constructor(options: UpOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const loading = loadDefinitions(this.#options);
    // Whoever waits for the database first is told of the other as well.
    loading.catch(() => undefined);
    this.#database = await openPlatformDatabase(this.#options, (away) => {
      for (const service of ["registry", "lease", "replay"] as const) {
        this.#running.get(service)?.dependency("database", !away);
      }
    }).catch((failure: unknown) => {
      throw startFailure("the database", failure);
    });
    const definitions = await loading;
    let published: string[] = [];
    for (const stage of stagesOf(this.#options)) {
      await startTogether(stage.map((service) => this.#startOne(service, definitions[service]())));
      const registry = this.#running.get("registry");
      if (stage.includes("registry") && registry !== undefined)
        published = await publishTemplates(registry.connection());
    }
    await untilReady(() => [...this.#running.values()].every(({ health }) => health.ready));
    const websocket = this.#running.get("transport-websocket")?.ready.addresses.websocket ?? "";
    const { registry = "" } = this.#addresses;
    tellPlatform({ registry, websocket, published, readyMs: performance.now() }, this.#options);
  }

  async #startOne(service: UpService, definition: ServiceDefinition<ServiceFields>): Promise<void> {
    const argv = flagsOf(service, this.#options, this.#addresses);
    const config = resolveConfig(definition.fields, { service, argv, env: process.env });
    if (!config.ok) throw configFailure(service, config.error);
    if ("help" in config.value) return;
    const database = this.#database;
    const running = await startService(definition, config.value.values, {
      ...(database === null ? {} : { database }),
      connect: (peer, baseUrl) => this.#peer(peer, baseUrl),
    }).catch((failure: unknown) => {
      throw startFailure(service, failure);
    });
    this.#running.set(service, running);
    this.#names.take(service, running.instanceId);
    this.#addresses = { ...this.#addresses, ...addressOf(service, running.ready) };
    tellService(running.ready, this.#options);
  }

  #peer(peer: PeerService, baseUrl: string) {
    const running = this.#running.get(peer);
    return running !== undefined && localUrl(running.ready.url) === baseUrl ? running.connection() : null;
  }

  async stop(graceMs: number): Promise<boolean> {
    let inOrder = true;
    for (const stage of stopStages) {
      const ends = await Promise.all(stage.map(async (service) => this.#running.get(service)?.stop(graceMs)));
      for (const [at, end] of ends.entries()) {
        if (end !== false) continue;
        inOrder = false;
        note(`${stage[at]} had to cut something off`);
      }
    }
    await this.#database?.close();
    return inOrder;
  }
}
