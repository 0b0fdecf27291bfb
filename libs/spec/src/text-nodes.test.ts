import { describe, expect, test } from "vitest";
import { explainSpec } from "./explain-spec.ts";
import { compiled, edited, problemsOf, readSpecFile, small } from "./testing.ts";

const interpreter = readSpecFile("interpreter.yaml");
const guarded = readSpecFile("guarded-assistant.yaml");
const menu = readSpecFile("phone-menu.yaml");

/** The small pipeline whose reply goes through `node` (kind and settings), fed by the model and a translator. */
function joined(node: string): string {
  const german =
    "  - {id: german, kind: translator, settings: {target_language: de}, provider: {candidates: [sim/llm]}}\n";
  const nodes = edited(
    small,
    "  - {id: segmenter, kind: segmenter}\n",
    `${german}  - {id: join, ${node}}\n  - {id: segmenter, kind: segmenter}\n`,
  );
  const into =
    "  - llm.text -> german.text\n  - german.text -> join.text\n  - llm.text -> join.text\n  - join.text -> segmenter.text\n";
  return edited(nodes, "  - llm.text -> segmenter.text\n", into);
}

const merge = joined("kind: merge, settings: {rule: timestamp/v1, priority: [llm, german], wait_ms: 50}");
const select = joined('kind: select, settings: {choose: ["german: language = de", "llm: otherwise"]}');

describe("F-010 text nodes in a spec", () => {
  test("the shipped pipelines compile; scopes follow from what feeds the nodes", () => {
    const scopes = (text: string): string[] =>
      compiled(text).graph.nodes.map(({ id, kind, scope }) => `${id} ${kind} ${scope}`);
    expect(scopes(interpreter)).toContain("german translator turn");
    expect(scopes(menu)).toContain("keypad dtmf session");
    expect(scopes(guarded)).toEqual(
      expect.arrayContaining(["noise filter session", "policy compliance turn", "answer__breath filter turn"]),
    );
    for (const text of [merge, select])
      expect(scopes(text)).toContain(`join ${text === merge ? "merge" : "select"} turn`);
  });

  test("F-003 an utterance feeds an input for text, and the edge keeps the type of what it carries", () => {
    const edge = compiled(interpreter).graph.edges.find(({ to }) => to.node === "german");
    expect(edge).toMatchObject({ type: "utterance", from: { node: "endpointing", port: "utterance" } });
    const parrot = edited(
      interpreter,
      "from: endpointing.utterance, to: german.text",
      "from: caller.audio, to: german.text",
    );
    expect(problemsOf(parrot)[0]).toMatchObject({
      code: "port_types",
      message: "output caller.audio carries audio, input german.text takes text",
    });
  });

  test("a translator's model is told its languages; explain says that the node's kind implies it", () => {
    const pipeline = compiled(interpreter);
    expect(pipeline.graph.nodes.find(({ id }) => id === "german")?.candidates[0]?.settings).toEqual({
      source_language: "en",
      target_language: "de",
      prompt: "Translate what the user says from en into de. Answer with the translation alone.",
    });
    expect(explainSpec(pipeline)).toMatch(/nodes\.german\.candidates\[0\]\.settings\.prompt\s.*node_kind\/translator/);
    const own = edited(
      interpreter,
      "candidates: [local/phrasebook] # knows",
      "settings: {prompt: Poetically.}\n      candidates: [local/phrasebook] # knows",
    );
    expect(compiled(own).graph.nodes.find(({ id }) => id === "german")?.candidates[0]?.settings.prompt).toBe(
      "Poetically.",
    );
  });
});

interface Bad {
  title: string;
  text: string;
  path: string;
  message: string;
  remedy: string;
}

const bad: readonly Bad[] = [
  {
    title: "F-010 a translator without its language",
    text: edited(interpreter, "      target_language: de\n", ""),
    path: "nodes[4].settings.target_language",
    message: 'needs "target_language"',
    remedy: "target_language",
  },
  {
    title: "F-010 a translator into the language it comes from",
    text: edited(interpreter, "target_language: de", "target_language: en"),
    path: "nodes[4].settings.target_language",
    message: "both en",
    remedy: "name the language to translate into",
  },
  {
    title: "F-005 a merge rule that is not known",
    text: merge.replace("timestamp/v1", "timestamp/v2"),
    path: "nodes[7].settings.rule",
    message: "timestamp/v2",
    remedy: "timestamp/v1",
  },
  {
    title: "F-005 a merge that waits under a rule that never does",
    text: merge.replace("timestamp/v1", "arrival/v1"),
    path: "nodes[7].settings.wait_ms",
    message: "wait_ms has no meaning with rule arrival/v1",
    remedy: "set rule: timestamp/v1",
  },
  {
    title: "F-005 a priority for a node that does not feed the merge",
    text: merge.replace("priority: [llm, german]", "priority: [llm, germna]"),
    path: "nodes[7].settings.priority[1]",
    message: 'no edge leads here from a node "germna"',
    remedy: 'did you mean "german"?',
  },
  {
    title: "F-005 a merge with one input",
    text: edited(merge, "  - german.text -> join.text\n", "").replace(", german]", "]"),
    path: "nodes[7]",
    message: 'node "join" of kind merge has one input',
    remedy: "add an edge from another node",
  },
  {
    title: "F-005 a merge fed twice by one node",
    text: edited(
      merge,
      "  - german.text -> join.text\n",
      "  - german.text -> join.text\n  - {id: again, from: german.text, to: join.text}\n",
    ),
    path: "edges[8]",
    message: 'fed twice by node "german"',
    remedy: "remove one of the two edges",
  },
  {
    title: "F-006 a condition of another form",
    text: select.replace("german: language = de", "german: colour = red"),
    path: "nodes[7].settings.choose[0]",
    message: "attributes are language, provider, health and variable.NAME",
    remedy: 'e.g. "german: language = de"',
  },
  {
    title: "F-006 no otherwise at the end",
    text: select.replace("llm: otherwise", "llm: language = en"),
    path: "nodes[7].settings.choose[1]",
    message: "the last condition may not hold",
    remedy: "end with one `input: otherwise`",
  },
  {
    title: "F-006 an input that is never chosen",
    text: select.replace("german: language = de", "llm: language = de"),
    path: "nodes[7].settings.choose",
    message: 'input "german" is never chosen',
    remedy: "add a condition for it",
  },
  {
    title: "F-118 a policy that lets everything through",
    text: joined("kind: merge, settings: {rule: arrival/v1}").replace(
      "kind: merge, settings: {rule: arrival/v1}",
      "kind: compliance, settings: {emails: off}",
    ),
    path: "nodes[7].settings",
    message: "this node would let everything through",
    remedy: "set one of card_numbers",
  },
  {
    title: "F-118 a sentence for a block that is never made",
    text: edited(guarded, "card_numbers: block", "card_numbers: mask"),
    path: "nodes[7].settings.block_sentence",
    message: "block_sentence has no meaning where nothing is set to block",
    remedy: "set an action to block",
  },
  {
    title: "F-118 an action that is none",
    text: edited(guarded, "emails: mask", "emails: hide"),
    path: "nodes[7].settings.emails",
    message: "hide",
    remedy: "mask",
  },
  {
    title: "F-118 a word that could never be found as a word",
    text: edited(guarded, "words: [small robot, lighthouse]", 'words: ["!!"]'),
    path: "nodes[7].settings.words[0]",
    message: '"!!"',
    remedy: "a word or phrase that begins and ends with a letter or digit",
  },
  {
    title: "F-010 a filter for audio and text at once",
    text: edited(guarded, "  - stt.text -> noise.text\n", "  - stt.text -> noise.text\n  - caller.audio -> noise.in\n"),
    path: "nodes[3]",
    message: "connected both for audio (in, out) and for text",
    remedy: "use one filter for audio and another for text",
  },
  {
    title: "F-010 words that would go round the endpoint",
    text: edited(guarded, "  - endpointing.utterance -> context.utterance\n", "  - noise.text -> context.utterance\n"),
    path: "edges[5]",
    message: "what opens a turn leaves endpointing",
    remedy: 'lead noise.text into endpointing, and endpointing.utterance on to "context"',
  },
  {
    title: "F-010 the recogniser's text where an utterance is taken",
    text: edited(small, "  - ep.utterance -> context.utterance\n", "  - stt.text -> context.utterance\n"),
    path: "edges[4]",
    message: "stt.text is text as it is heard",
    remedy: "lead it into endpointing, and endpointing.utterance to context.utterance",
  },
  {
    title: "F-010 a keypad that leads nowhere",
    text: edited(menu, "  - keypad.utterance -> context.utterance\n", ""),
    path: "nodes[4]",
    message: "output keypad.utterance is not connected",
    remedy: 'add an edge, e.g. "keypad.utterance -> context.utterance"',
  },
  {
    title: "F-010 a menu line of another form",
    text: edited(menu, '"1: when do you open"', '"one: when do you open"'),
    path: "nodes[4].settings.menu[0]",
    message: "is no menu line",
    remedy: 'write "digits: words"',
  },
  {
    title: "F-010 a menu with the same digits twice",
    text: edited(menu, '"2: tell me a story"', '"1: tell me a story"'),
    path: "nodes[4].settings.menu[1]",
    message: "stand in the menu already",
    remedy: "give each line digits of its own",
  },
  {
    title: "a second voice, which would count each clause twice as heard",
    text: edited(
      small,
      "  - {id: output, kind: output}\n",
      "  - {id: tts2, kind: tts, provider: {candidates: [sim/tts]}}\n  - {id: out2, kind: output}\n  - {id: output, kind: output}\n",
    ).replace(
      "  - tts.audio -> output.audio\n",
      "  - tts.audio -> output.audio\n  - segmenter.text -> tts2.text\n  - tts2.audio -> out2.audio\n",
    ),
    path: "nodes[8].kind",
    message: "a second node of kind tts; a pipeline has one",
    remedy: 'remove node "tts2" or node "tts"',
  },
];

test.each(bad.map((one) => [one.title, one] as const))("%s: field and remedy", (_, { text, path, message, remedy }) => {
  const found = problemsOf(text).find((problem) => problem.path === path);
  expect(found, JSON.stringify(problemsOf(text))).toBeDefined();
  expect(found?.message).toContain(message);
  expect(found?.remedy).toContain(remedy);
});
