// Run by node with RunPod's unmodified npm package, as runpod_client.py is: what its users do with an endpoint.
import { writeFileSync } from "node:fs";
import runpodSdk from "runpod-sdk";

const { RUNPOD_ENDPOINT_BASE_URL: baseUrl, RUNPOD_API_KEY, ENDPOINT, FOLDER } = process.env;
console.log = () => {}; // the package tells of its waiting there
const open = (key, name = ENDPOINT) => runpodSdk(key, { baseUrl }).endpoint(name);
const endpoint = open(RUNPOD_API_KEY);
const pick = ({ status, output, completed, succeeded }) => ({ status, output, completed, succeeded });

async function errorOf(call) {
  try {
    return ["none", await call()];
  } catch (error) {
    return [error.response?.status, error.response?.data];
  }
}

async function seen(look, wanted) {
  const until = Date.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found === wanted || Date.now() > until) return found;
    await new Promise((next) => setTimeout(next, 200));
  }
}

const found = {};
const started = await endpoint.run({ input: { words: ["a"] } });
found.run = started.status;
found.statusSync = pick(await endpoint.statusSync(started.id, 60_000));
found.status = pick(await endpoint.status(started.id));
found.runSync = pick(await endpoint.runSync({ input: { words: ["sync", 2] } }, 60_000));

const streamed = await endpoint.run({ input: { words: [0, 1, 2, 3, 4] } });
found.stream = [];
for await (const chunk of endpoint.stream(streamed.id)) found.stream.push(chunk.output);

const gate = `${FOLDER}/node-gate`;
const held = await endpoint.run({ input: { hold: gate, words: ["held"] } });
found.running = await seen(async () => (await endpoint.status(held.id)).status, "IN_PROGRESS");
found.late = pick(await endpoint.runSync({ input: { words: [] } }, 1_500));
const cancelled = await endpoint.run({ input: { words: [] } });
found.cancel = (await endpoint.cancel(cancelled.id)).status;
await endpoint.run({ input: { words: [] } });
found.purges = [await endpoint.purgeQueue()];
while (found.purges.at(-1).status !== "completed") found.purges.push(await endpoint.purgeQueue());
found.inProgress = await seen(async () => (await endpoint.health()).jobs.inProgress, 1);
writeFileSync(gate, "");
found.held = pick(await endpoint.statusSync(held.id, 60_000));

found.unauthorized = await errorOf(() => open("ov_wrong").run({ input: 1 }));
found.noEndpoint = await errorOf(() => open(RUNPOD_API_KEY, "nothing").health());
found.noJob = await errorOf(() => endpoint.status("nothing"));
process.stdout.write(JSON.stringify(found));
