// Answers queries as the search box of the site does: by Material's own worker. `node search.js WORKER INDEX`, a list of
// queries as JSON on standard input; for each the places it leads to, best page first, each with its sections.
const { readFileSync } = require("fs");
const [worker, index] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));
const queries = JSON.parse(readFileSync(0, "utf8"));
const places = [];
let listen;
globalThis.self = globalThis;
globalThis.addEventListener = (_, listener) => (listen = listener);
globalThis.postMessage = (message) => answered(message);
const SETUP = 0, QUERY = 2;

function answered(message) {
  if (message.data) places.push(message.data.items.map((page) => page.map((section) => section.location)));
  if (places.length < queries.length) listen({ data: { type: QUERY, data: queries[places.length] } });
  else console.log(JSON.stringify(places));
}

(0, eval)(worker);
listen({ data: { type: SETUP, data: { ...JSON.parse(index), options: { suggest: true } } } });
