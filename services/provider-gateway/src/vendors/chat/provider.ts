/** A vendor's language model as a provider: what all have in common, around the one request that each makes its own way. */
import type { Clock } from "@rspp/ports/clock";
import type {
  ChatMessage,
  Invocation,
  InvocationInput,
  InvocationOpen,
  InvocationSink,
  ToolOffer,
} from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { readSettings, type SettingSpecs, type SettingValues } from "../../settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { type ChatValues, chatSpecs } from "./settings.ts";
import { ChatTurn } from "./turn.ts";

/** What a model is asked. */
export interface ChatAsk<S extends SettingSpecs = SettingSpecs> {
  readonly baseUrl: string;
  readonly key: string | undefined;
  readonly values: ChatValues & SettingValues<S>;
  /** Setting `prompt` first, as a system message. */
  readonly messages: readonly ChatMessage[];
  readonly tools: readonly ToolOffer[];
  readonly idempotencyKey: string;
}

export interface ChatVendor<S extends SettingSpecs> {
  readonly name: string;
  readonly model: string;
  /** Settings of this vendor alone. */
  readonly specs: S;
  /** Asks and tells the turn what is answered, up to `turn.complete`. What it throws is told by {@link codeOf}. */
  speak(ask: ChatAsk<S>, turn: ChatTurn): Promise<void>;
  /** The vendor's word for an error, from what `speak` threw; undefined: it threw for another reason. Never its message. */
  codeOf(error: unknown): string | undefined;
}

/** Starts when the messages arrive. */
export function chatProvider<const S extends SettingSpecs>(
  access: VendorAccess,
  vendor: ChatVendor<S>,
): ManagedProvider {
  const { clock } = access;
  const specs = { ...chatSpecs, ...vendor.specs };
  return {
    name: vendor.name,
    modality: "llm",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const values = read.values as unknown as ChatValues & SettingValues<S>;
      const asked = { ...values, model: values.model === "" ? vendor.model : values.model };
      return new Chat(access, vendor, asked, request, sink);
    },
  };
}

class Chat<S extends SettingSpecs> implements Invocation {
  readonly #clock: Clock;
  readonly #access: VendorAccess;
  readonly #vendor: ChatVendor<S>;
  readonly #values: ChatValues & SettingValues<S>;
  readonly #request: InvocationOpen;
  readonly #sink: InvocationSink;
  /** Until the messages come. */
  readonly #waiting: Attempt;
  #turn: ChatTurn | undefined;
  #finished = false;

  constructor(
    access: VendorAccess,
    vendor: ChatVendor<S>,
    values: ChatValues & SettingValues<S>,
    request: InvocationOpen,
    sink: InvocationSink,
  ) {
    this.#clock = access.clock;
    this.#access = access;
    this.#vendor = vendor;
    this.#values = values;
    this.#request = request;
    this.#sink = sink;
    this.#waiting = new Attempt(sink);
  }

  push(input: InvocationInput): void {
    if (input.kind !== "messages" || this.#turn !== undefined || this.#finished || this.#waiting.done) return;
    const { invocationId, idempotencyKey } = this.#request;
    const values = this.#values;
    const turn = new ChatTurn(this.#sink, { clock: this.#clock, values, invocationId });
    this.#turn = turn;
    const { messages: said, tools = [] } = input;
    const messages = values.prompt === "" ? said : [{ role: "system" as const, text: values.prompt }, ...said];
    const { baseUrl } = this.#access;
    const ask = { baseUrl, key: this.#access.key(), values, messages, tools, idempotencyKey };
    this.#vendor.speak(ask, turn).then(
      () => turn.ranOut(),
      (failure: unknown) => turn.failed(this.#vendor.codeOf(failure)),
    );
  }

  finish(): void {
    if (this.#turn !== undefined || this.#finished || this.#waiting.done) return;
    this.#finished = true;
    const end = (): void => this.#waiting.end("empty", "finished without messages");
    const timer = this.#clock.timerAt(this.#clock.nowNs(), end);
    this.#waiting.onEnd(() => timer.clear());
  }

  cancel(): void {
    if (this.#turn !== undefined) this.#turn.end("cancelled", "cancelled");
    else this.#waiting.end("cancelled", "cancelled");
  }
}
