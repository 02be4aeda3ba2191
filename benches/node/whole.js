// The first server of the note: the whole file in memory, then the answer. node whole.js FOLDER PORT
const fs = require('node:fs')
const [folder, port] = process.argv.slice(2)

require('node:http').createServer((request, response) => {
  fs.readFile(folder + request.url, (error, content) => response.writeHead(error ? 404 : 200).end(content))
}).listen(port, '127.0.0.1')
