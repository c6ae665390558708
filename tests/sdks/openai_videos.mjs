// Run by node with OpenAI's unmodified npm package, as openai_videos.py is: what its users do with videos.
import { writeFileSync } from "node:fs";
import OpenAI from "openai";

const { OPENV_URL, OPENV_API_KEY, POOR_KEY, FOLDER } = process.env;
const open = (apiKey) => new OpenAI({ baseURL: `${OPENV_URL}/v1`, apiKey });
const client = open(OPENV_API_KEY);
const small = { size: "384x384", num_frames: 7, num_inference_steps: 10 };

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return [error.constructor.name, error.status, error.code, error.param, error.message];
  }
  return ["none"];
}

const found = { models: (await client.models.list()).data.map((one) => one.id) };
let video = await client.videos.create({ model: "sora-2", prompt: "a corgi surfing at sunset", ...small });
found.created = video;
while (video.status === "queued" || video.status === "in_progress") {
  await new Promise((resolve) => setTimeout(resolve, 250));
  video = await client.videos.retrieve(video.id);
}
found.video = video;
const whole = await client.videos.downloadContent(video.id);
writeFileSync(`${FOLDER}/whole.mp4`, Buffer.from(await whole.arrayBuffer()));
const second = await client.videos.create({ prompt: "a cat" });
found.listed = [];
for await (const one of client.videos.list({ limit: 1 })) found.listed.push(one.id);
found.deleted = await client.videos.delete(second.id);
found.ids = [video.id, second.id];
const picture = new File([new Uint8Array(3_000_000)], "cat.png", { type: "image/png" });
found.errors = {
  gone: await errorOf(() => client.videos.retrieve(second.id)),
  key: await errorOf(() => open("sk-nothing").videos.list()),
  quota: await errorOf(() => open(POOR_KEY).videos.create({ prompt: "a cat" })),
  seconds: await errorOf(() => client.videos.create({ prompt: "a cat", seconds: "12" })),
  picture: await errorOf(() => client.videos.create({ prompt: "a cat", input_reference: picture })),
  remix: await errorOf(() => client.videos.remix(video.id, { prompt: "at night" })),
};
process.stdout.write(JSON.stringify(found));
