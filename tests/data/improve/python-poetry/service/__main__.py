import itsdangerous

print(itsdangerous.Signer("secret").sign("word"))
