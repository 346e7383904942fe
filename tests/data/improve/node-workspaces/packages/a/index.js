if (!require("is-odd")(3)) process.exit(1);
