const ms = require("ms");
const isOdd = require("is-odd");
require("http").createServer((_, answer) => answer.end(`${ms(1000)} ${isOdd(3)}`)).listen(3000);
