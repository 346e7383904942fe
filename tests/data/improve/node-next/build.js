// What `next build` with output: "standalone" leaves: a server with its modules, and a cache for the next build.
const fs = require("fs");
fs.mkdirSync(".next/standalone/node_modules", { recursive: true });
fs.mkdirSync(".next/cache", { recursive: true });
fs.writeFileSync(".next/cache/0.pack", Buffer.alloc(2_000_000));
fs.cpSync("node_modules/ms", ".next/standalone/node_modules/ms", { recursive: true });
fs.writeFileSync(".next/standalone/server.js", fs.readFileSync("pages/index.js"));
