/** The state handle (`kernel.md` §8; F-155): which class of state a node may reach is declared, and held to. */
import { type NodeDescriptor, NodeStateRefused, type StateHandle, type StateStore } from "./node-api.ts";

const KEY_CHARS_MAX = 64;

export interface HotState {
  /** What earlier instances of the node left in this session: JSON texts by key. */
  readonly initial: Readonly<Record<string, string>>;
  changed(key: string, json: string | null): void;
}

export function stateHandle(
  { state = "none" }: Pick<NodeDescriptor, "state">,
  scope: "session" | "turn",
  hot: HotState,
): StateHandle {
  const turn = new JsonStore({}, () => undefined);
  const session = new JsonStore(hot.initial, (key, json) => hot.changed(key, json));
  return {
    get turn() {
      if (scope === "session") throw new NodeStateRefused("a session-scoped node cannot reach turn-ephemeral state");
      if (state === "none") throw new NodeStateRefused('declare state: "turn" to keep turn-ephemeral state');
      return turn;
    },
    get session() {
      if (state !== "session_hot") throw new NodeStateRefused('declare state: "session_hot" to keep session-hot state');
      return session;
    },
  };
}

class JsonStore implements StateStore {
  private readonly values: Map<string, string>;
  private readonly changed: (key: string, json: string | null) => void;

  constructor(initial: Readonly<Record<string, string>>, changed: (key: string, json: string | null) => void) {
    this.values = new Map(Object.entries(initial));
    this.changed = changed;
  }

  get(key: string): unknown {
    const json = this.values.get(key);
    return json === undefined ? undefined : JSON.parse(json);
  }

  set(key: string, value: unknown): void {
    if (typeof key !== "string" || key === "" || key.length > KEY_CHARS_MAX)
      throw new TypeError(`a state key has 1 to ${KEY_CHARS_MAX} characters`);
    const json = JSON.stringify(value);
    if (json === undefined) throw new TypeError("state values are JSON: this one has no JSON form");
    this.values.set(key, json);
    this.changed(key, json);
  }

  delete(key: string): void {
    if (this.values.delete(key)) this.changed(key, null);
  }
}
