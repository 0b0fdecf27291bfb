/** JSGF grammars of the demo: what a caller may ask, and what `local/responder` answers. Words are all in cmudict. */

const numberRules = `
<unit> = one | two | three | four | five | six | seven | eight | nine;
<teen> = ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen | nineteen;
<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
<number> = zero | <unit> | <teen> | <tens> [<unit>];
<month> = january | february | march | april | may | june | july | august | september | october | november | december;
<weekday> = monday | tuesday | wednesday | thursday | friday | saturday | sunday;
<direction> = forward | backward | left | right;
<distance> = <number> (meter | meters);
`;

/** What the demo's caller may say. */
export const assistantGrammar = `#JSGF V1.0;
grammar assistant;
public <request> = [<greeting>] <question> | <greeting>;
<greeting> = hello | good morning | good evening;
<question> = <add> | <days> | <spell> | <move> | <hours> | <count> | <repeat> | <help> | <bye> | <story> | <stop>;
<add> = what is <number> plus <number>;
<days> = how many days are in <month>;
<spell> = spell <word>;
<word> = hello | open | help | story | forward | monday;
<move> = go <direction> <distance>;
<hours> = when do you open | when do you close | what are your opening hours | are you open on <weekday>;
<count> = count to <number>;
<repeat> = say that again | repeat that;
<help> = help me | i need help | what can you do;
<bye> = goodbye;
<story> = tell me a story;
<stop> = stop | stop it | wait a moment;
${numberRules}`;

/** What `local/responder` answers to most of these, so that an answer's audio can be recognised back. */
export const answersGrammar = `#JSGF V1.0;
grammar answers;
public <answer> = <sum> | <days> | <move> | <hours> | <greeting> | <bye> | <stop>;
<sum> = <number> plus <number> is [one hundred] [<number>];
<days> = <month> has <number> days [or <number> in a leap year];
<move> = going <direction> <distance>;
<hours> = we open at <number> | we close at <number> | we are open from <number> to <number> [monday to saturday]
  | yes we are open on <weekday> from <number> to <number> | no we are closed on <weekday>;
<greeting> = hello how can i help you;
<bye> = goodbye and have a nice day;
<stop> = okay;
${numberRules}`;
