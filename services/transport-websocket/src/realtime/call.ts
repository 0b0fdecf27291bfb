/** One session of one Realtime client: the line of libs/transport on one side, the protocol's events on the other (F-084). */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { Clock } from "@rspp/ports/clock";
import type { TokenClaims } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import { type CallerAudio, createCallerAudio } from "@rspp/transport/audio-in";
import type { Media } from "@rspp/transport/audio-out";
import { type LineStats, SessionLine } from "@rspp/transport/session-line";
import { type CloseCode, closeCodes } from "../refusal.ts";
import { Answers, type Send } from "./answers.ts";
import type { ClientEvent, Json } from "./client-events.ts";
import { InputFeed } from "./input-feed.ts";
import { Items, itemObject } from "./items.ts";
import { realtimeLimits as limits } from "./limits.ts";
import { Loudspeaker } from "./loudspeaker.ts";
import { audioProblem, invalid, type RealtimeProblem } from "./problem.ts";
import {
  bytesPerMs,
  DEFAULT_CONFIG,
  formatObject,
  formatOf,
  type RealtimeConfig,
  sessionObject,
  updated,
} from "./session-config.ts";
import { SwitchedAudio } from "./switched-audio.ts";
import { Utterances } from "./utterances.ts";

/** The connection a call speaks through. */
export interface RealtimeLink {
  send: Send;
  /** An error that no event of the client has caused. */
  fail(problem: RealtimeProblem): void;
  close(code: CloseCode, text: string): void;
}

export interface RealtimeCallOptions {
  readonly clock: Clock;
  readonly claims: TokenClaims;
  readonly audio: CallerAudio;
  readonly link: RealtimeLink;
  onOver(call: RealtimeCall, reason: string): void;
}

type Done = Result<null, RealtimeProblem>;
const DONE: Done = ok(null);

export class RealtimeCall {
  readonly line: SessionLine;
  readonly #options: RealtimeCallOptions;
  readonly #audio: SwitchedAudio;
  readonly #feed: InputFeed;
  readonly #items = new Items();
  readonly #answers: Answers;
  readonly #utterances: Utterances;
  readonly #loudspeaker: Loudspeaker;
  #config: RealtimeConfig = DEFAULT_CONFIG;
  #link: RealtimeLink | null;
  #sequence = 0;
  /** Commits that no turn has answered yet. */
  #unanswered = 0;
  #committedNs = 0;
  #closingNs = 0;
  #goneNs = -1;

  constructor(options: RealtimeCallOptions) {
    this.#options = options;
    const { clock, claims, audio, link } = options;
    this.#link = link;
    this.#audio = new SwitchedAudio(audio);
    const send: Send = (event) => this.#link?.send(event);
    this.line = new SessionLine({
      clock,
      claims,
      audio: this.#audio,
      output: formatOf(DEFAULT_CONFIG.output),
      end: {
        media: (media) => this.#media(media),
        // Nothing waits here: the runtime sends little ahead of what is played.
        cut: () => 0,
        flush: (fence, flush, cut) => {
          if (fence.reason === "barge_in" && !this.#config.manual) this.#utterances.interrupted();
          this.#answers.fence(fence.turn, fence.all, fence.reason);
          this.#loudspeaker.flush(fence, flush, cut);
        },
        control: (message) => this.#control(message),
        text: (message) => this.#text(message),
        closing: () => {
          this.#closingNs = clock.nowNs();
          this.#endWhenHeard();
        },
        over: (reason) => this.#over(reason),
      },
    });
    this.#feed = new InputFeed({ clock, take: (bytes, durationUs) => this.#piece(bytes, durationUs) });
    this.#answers = new Answers(this.#items, send, () => ({
      conversation_id: claims.session,
      audio: { output: { format: formatObject(this.#config.output), voice: "pipeline" } },
    }));
    this.#utterances = new Utterances(this.#items, send, () => Math.floor(this.#feed.appendedUs / 1_000));
    const { agent } = this.line;
    this.#loudspeaker = new Loudspeaker({ clock, agent, items: this.#items, send });
  }

  /** The session is open: the first event says what it is; what the runtime has said before is heard now. */
  begin(): void {
    this.#link?.send({ type: "session.created", session: this.#session() });
    this.line.connected();
  }

  /** An event of the client: done, or what is wrong with it. */
  take(event: Exclude<ClientEvent, { type: "session.update" }>): Done {
    if (this.line.isOver() || this.line.closing() !== null) return DONE;
    switch (event.type) {
      case "input_audio_buffer.append":
        return this.#append(event.audio);
      case "input_audio_buffer.commit":
        return this.#commit();
      case "input_audio_buffer.clear":
        this.#feed.clear();
        this.#link?.send({ type: "input_audio_buffer.cleared" });
        return DONE;
      case "output_audio_buffer.clear":
        return this.#clearOutput();
      case "conversation.item.create":
        return createItem(event.item);
      case "conversation.item.truncate":
        return this.#truncate(event.itemId, event.audioEndMs);
      case "conversation.item.retrieve":
        return this.#retrieve(event.itemId);
      case "conversation.item.delete":
        return this.#delete(event.itemId);
      case "response.create":
        return this.#create(event.response);
      case "response.cancel":
        return this.#cancel(event.responseId);
    }
  }

  /** Takes all of it or nothing. Loads what a new format needs before it answers. */
  async update(session: Json): Promise<Done> {
    const next = updated(this.#config, session);
    if (!next.ok) return next;
    const before = this.#config;
    if (next.value.input !== before.input) {
      const audio = await createCallerAudio(formatOf(next.value.input));
      if (this.line.isOver()) {
        audio.close();
        return DONE;
      }
      // What was held is of the old format and goes on before it.
      if (before.manual) this.#feed.release();
      this.#feed.after(() => this.#audio.to(audio));
    }
    if (next.value.output !== before.output) this.line.agent.reformat(formatOf(next.value.output));
    if (before.manual && !next.value.manual) this.#feed.release();
    this.#config = next.value;
    this.#link?.send({ type: "session.updated", session: this.#session() });
    return DONE;
  }

  /** The client's connection has gone. `clean`: it said so. There is no coming back in this protocol. */
  detach(clean: boolean): void {
    this.#link = null;
    this.#goneNs = this.#options.clock.nowNs();
    this.#feed.close();
    this.#loudspeaker.away();
    const closing = this.line.closing();
    if (closing !== null) return this.line.finish(closing);
    if (clean) this.line.hangUp("caller_hangup");
    else this.line.giveUp("connection_lost");
  }

  /** Looks at what time has done. */
  tick(): void {
    if (this.line.isOver()) return;
    this.#endWhenHeard();
    const committedForNs = this.#options.clock.nowNs() - this.#committedNs;
    if (this.#unanswered > 0 && committedForNs > msToNs(limits.UNANSWERED_MS)) {
      this.#unanswered = 0;
      this.#utterances.nothingHeard();
    }
    const waitedNs = this.#options.clock.nowNs() - this.#goneNs;
    if (this.#goneNs >= 0 && waitedNs > msToNs(limits.LAST_WORDS_MS)) this.line.finish("caller_hangup");
  }

  stats(): LineStats {
    return this.line.stats();
  }

  #session(): Json {
    const { session, pipelineVersion } = this.#options.claims;
    return sessionObject(session, pipelineVersion, this.#config);
  }

  #append(bytes: Uint8Array): Done {
    const { input, manual } = this.#config;
    if (input === "audio/pcm" && bytes.length % 2 !== 0)
      return err(invalid("invalid_value", "audio ends inside a sample; send whole samples of 16 bits.", "audio"));
    if (this.#feed.push(bytes, bytesPerMs(input), manual)) return DONE;
    const said = `More than ${limits.INPUT_WAITING_MS_MAX / 1_000} s of audio wait; commit, or send it as it is spoken.`;
    return err(invalid("input_audio_buffer_full", said, "audio"));
  }

  #piece(bytes: Uint8Array, durationUs: number): void {
    this.#sequence += 1;
    const problem = this.line.audio(this.#sequence, bytes, durationUs);
    if (problem !== null) this.#link?.fail(audioProblem(problem));
  }

  #commit(): Done {
    if (this.#feed.sinceCommitUs < 100_000) {
      const ms = Math.floor(this.#feed.sinceCommitUs / 1_000);
      const said = `The buffer holds ${ms} ms of audio since the last commit or turn, and a commit needs 100; append first.`;
      return err(invalid("input_audio_buffer_commit_empty", said));
    }
    this.#feed.sinceCommitUs = 0;
    this.#unanswered += 1;
    this.#committedNs = this.#options.clock.nowNs();
    this.#utterances.commit(this.#config.manual);
    this.#feed.release();
    this.#feed.after(() => {
      const { caller } = this.line;
      if (this.line.isOver()) return;
      caller.finishFrame();
      caller.control("end_of_utterance", "positioned", "");
    });
    return DONE;
  }

  #truncate(itemId: string, audioEndMs: number): Done {
    const item = this.#items.find(itemId);
    if (item === undefined) return err(unknownItem(itemId));
    if (item.role !== "assistant")
      return err(invalid("invalid_value", "Only the agent's audio can be truncated.", "item_id"));
    const sentMs = Math.floor(item.sentUs / 1_000);
    if (audioEndMs > sentMs) {
      const said = `Audio content of ${sentMs}ms is already shorter than ${audioEndMs}ms; give what was played of it.`;
      return err(invalid("invalid_value", said, "audio_end_ms"));
    }
    if (this.#loudspeaker.truncated(item, audioEndMs) === "cancel") this.#cancelTurn();
    return DONE;
  }

  #clearOutput(): Done {
    const { agent } = this.line;
    if (agent.quiet()) return err(invalid("output_audio_buffer_empty", "Nothing is being played."));
    this.#cancelTurn();
    const response = this.#answers.active();
    this.#link?.send({
      type: "output_audio_buffer.cleared",
      ...(response === null ? {} : { response_id: response.id }),
    });
    return DONE;
  }

  #retrieve(itemId: string): Done {
    const item = this.#items.find(itemId);
    if (item === undefined) return err(unknownItem(itemId));
    this.#link?.send({ type: "conversation.item.retrieved", item: itemObject(item) });
    return DONE;
  }

  #delete(itemId: string): Done {
    if (this.#items.find(itemId) === undefined) return err(unknownItem(itemId));
    const said =
      "What was said and heard stays in the conversation; the pipeline's history decides what is remembered.";
    return err(invalid("item_delete_not_supported", said, "item_id"));
  }

  #create(response: Json): Done {
    const strange = ["instructions", "input", "tools"].find((field) => response[field] !== undefined);
    if (strange !== undefined) {
      const said = `The pipeline decides what is answered; leave response.${strange} out.`;
      return err(invalid("unsupported_parameter", said, `response.${strange}`));
    }
    if (response.conversation === "none")
      return err(
        invalid("unsupported_parameter", "Responses are of the conversation; leave it out.", "response.conversation"),
      );
    const active = this.#answers.active();
    if (active !== null) {
      const said = `Conversation already has an active response: ${active.id}. Wait for response.done, or cancel it.`;
      return err(invalid("conversation_already_has_active_response", said));
    }
    if (this.#unanswered > 0) return DONE;
    const said =
      "There is nothing to answer; append audio and commit it. What is said is answered without response.create.";
    return err(invalid("nothing_to_answer", said));
  }

  #cancel(responseId: string | null): Done {
    const active = this.#answers.active();
    if (active === null || (responseId !== null && responseId !== active.id))
      return err(invalid("response_cancel_not_active", "Cancellation failed: no active response found."));
    this.#cancelTurn();
    return DONE;
  }

  #cancelTurn(): void {
    this.line.caller.control("stop", "overtaking", "user_cancel", { scope: "turn" });
  }

  #media(media: Media): void {
    const { turn, generation, bytes, offsetUs, durationUs, end } = media;
    const untilUs = offsetUs + durationUs;
    this.#answers.audio(turn, generation, bytes, untilUs);
    this.#loudspeaker.sent(turn, generation, untilUs, durationUs, end);
    if (end) this.#answers.audioEnded(turn);
  }

  #control({ signal, turn, reason }: Extract<TransportEgress, { kind: "control" }>): undefined {
    if (signal === "turn_open") {
      this.#unanswered = 0;
      if (!this.#config.manual) this.#feed.sinceCommitUs = 0;
      this.#utterances.turnOpened();
    }
    if (turn > 0) this.#answers.signal(signal, turn, reason);
    return undefined;
  }

  #text({ role, turn, text, final, segment }: Extract<TransportEgress, { kind: "text" }>): undefined {
    if (role === "assistant") this.#answers.text(turn, text);
    else this.#utterances.words(segment, text, final, !this.line.quiet());
    return undefined;
  }

  /** The runtime has ended the session: the client plays the last words, then the connection ends. */
  #endWhenHeard(): void {
    const { clock } = this.#options;
    const reason = this.line.closing();
    if (reason === null || this.line.isOver()) return;
    const nowNs = clock.nowNs();
    const untilNs = Math.min(this.#loudspeaker.outNs(), this.#closingNs + msToNs(limits.LAST_WORDS_MS));
    if (this.#link === null || nowNs >= untilNs) {
      this.#loudspeaker.settleDue();
      return this.line.finish(reason);
    }
    clock.timerAt(asMonoNs(untilNs), () => this.#endWhenHeard());
  }

  #over(reason: string): void {
    this.#feed.close();
    this.#loudspeaker.close();
    this.#answers.close(reason);
    const link = this.#link;
    this.#link = null;
    link?.close(closeCodes.done, reason);
    this.#options.onOver(this, reason);
  }
}

function unknownItem(id: string): RealtimeProblem {
  return invalid(
    "item_not_found",
    `No item ${id.slice(0, 64)} is known; use the id of conversation.item.added.`,
    "item_id",
  );
}

/** Nothing but speech comes in: the runtime takes no words of a client yet, and tools are the pipeline's. */
function createItem({ type }: Json): Done {
  if (type === "function_call_output") {
    const said = "No function call is open; tools are declared by the pipeline and run on the server.";
    return err(invalid("tools_not_supported", said, "item.type"));
  }
  const said = "Conversation items come from what is spoken; append audio instead.";
  return err(invalid("item_create_not_supported", said, "item.type"));
}
