import { describe, expect, test } from "vitest";
import { ManualClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { recorder, request } from "../testing/recorder.ts";
import { answerTo } from "./answers.ts";
import { numberToWords, wordsToNumber } from "./numbers.ts";
import { createResponder } from "./responder.ts";

describeConformance({
  create: (clock) => createResponder({ clock }),
  clock: "manual",
  settings: { chunk_ms: 10 },
  feed: (invocation) => invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] }),
  badSetting: { name: "chunk_ms", value: true },
});

describe("local/responder", () => {
  const user = (text: string) => [{ role: "user" as const, text }];

  test.each([
    ["hello", "Hello. How can I help you?"],
    ["what is twenty plus twenty two", "Twenty plus twenty two is forty two."],
    ["Hello, what's 2 plus 3?", "Two plus three is five."],
    ["what is ninety nine plus ninety nine", "Ninety nine plus ninety nine is one hundred ninety eight."],
    ["how many days are in april", "April has thirty days."],
    ["how many days does February have?", "February has twenty eight days or twenty nine in a leap year."],
    ["spell open", "O, P, E, N."],
    ["go forward ten meters", "Going forward ten meters."],
    ["go left one meter", "Going left one meter."],
    ["when do you open", "We open at nine."],
    ["when do you close", "We close at six."],
    ["what are your opening hours", "We are open from nine to six, Monday to Saturday."],
    ["are you open on sunday", "No, we are closed on Sunday."],
    ["are you open on monday", "Yes, we are open on Monday, from nine to six."],
    ["count to five", "One, two, three, four, five."],
    ["goodbye", "Goodbye, and have a nice day."],
    ["stop", "Okay."],
    ["fly to the moon", "Sorry, I did not get that. Say help me to hear what I can do."],
    ["what is many plus two", "Sorry, I did not get that. Say help me to hear what I can do."],
  ])("%s -> %s", (question, answer) => {
    expect(answerTo(user(question))).toBe(answer);
  });

  test("it greets when nobody has spoken, and repeats itself on request", () => {
    expect(answerTo([])).toContain("Hello");
    const said = { role: "assistant" as const, text: "We open at nine." };
    expect(answerTo([...user("when do you open"), said, ...user("say that again")])).toBe("We open at nine.");
    expect(answerTo(user("say that again"))).toBe("I have not said anything yet.");
    expect(answerTo(user("what can you do"))).toContain("add two numbers");
  });

  test("a story is long enough to be interrupted, and comes word by word", () => {
    const clock = new ManualClock();
    const sink = recorder();
    const open = request({ modality: "llm", provider: "local/responder", settings: { chunk_ms: 10 } });
    const invocation = createResponder({ clock }).open(open, sink);
    invocation.push({ kind: "messages", messages: user("tell me a story") });
    clock.advance(100);
    expect(sink.chunks.length).toBe(11);
    clock.advance(10_000);
    expect(sink.text()).toBe(answerTo(user("tell me a story")));
    expect(sink.text().split(" ").length).toBeGreaterThan(60);
  });

  test("numbers survive the round trip", () => {
    for (let n = 0; n < 200; n++) expect(wordsToNumber(numberToWords(n))).toBe(n);
    expect(wordsToNumber("forty-two")).toBe(42);
    expect(wordsToNumber("42")).toBe(42);
    expect(wordsToNumber("999")).toBeUndefined();
    expect(() => numberToWords(200)).toThrow(RangeError);
  });
});
