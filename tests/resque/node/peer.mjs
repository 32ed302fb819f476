// node-resque as the tests drive it: requests and answers are lines of JSON, events as well.
//   node peer.mjs PORT NAMESPACE
// {"id": 1, "call": "enqueue", "with": ["critical", "Ok", [1]]} -> {"id": 1, "answer": true} or {"id": 1, "error": "..."}

import { createInterface } from "node:readline";
import { Queue, Scheduler, Worker } from "node-resque";

const connection = { pkg: "ioredis", host: "127.0.0.1", port: Number(process.argv[2]), database: 0, namespace: process.argv[3] };
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const jobs = {
  mixed: { perform: async (...args) => say({ event: "ran", args }) },
  boom: {
    perform: async (...args) => {
      say({ event: "ran", args });
      throw new TypeError("boom <x> é");
    },
  },
  retried: {
    plugins: ["Retry"],
    pluginOptions: { Retry: { retryLimit: 5, retryDelay: 1000 } },
    perform: async (...args) => {
      throw new Error("again");
    },
  },
};

const queue = new Queue({ connection }, jobs);
queue.on("error", (error) => say({ event: "error", text: String(error) }));
let worker, scheduler;

const calls = {
  all: async (list) => {
    for (const [q, name, args] of list) await queue.enqueue(q, name, args);
    return list.length;
  },
  work: async (queues) => {
    worker = new Worker({ connection, queues, timeout: 50 }, jobs);
    worker.on("error", (error) => say({ event: "error", text: String(error) }));
    worker.on("success", (q, job) => say({ event: "success", class: job.class }));
    worker.on("failure", (q, job, failure) => say({ event: "failure", class: job.class, text: String(failure) }));
    await worker.connect();
    await worker.start();
    return worker.name;
  },
  rest: async () => {
    await worker.end();
    return true;
  },
  schedule: async () => {
    scheduler = new Scheduler({ connection, timeout: 50 });
    await scheduler.connect();
    await scheduler.start();
    return true;
  },
  unschedule: async () => {
    await scheduler.end();
    return true;
  },
};

await queue.connect();
say({ event: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  try {
    const call = calls[request.call] ?? ((...given) => queue[request.call](...given));
    say({ id: request.id, answer: (await call(...request.with)) ?? null });
  } catch (error) {
    say({ id: request.id, error: String(error) });
  }
}
await queue.end();
