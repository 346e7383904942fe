"""Measure masking on a generated set: how many secrets are masked (recall), how many harmless values are (false alarms).

The shapes are written from the manuals of the tools, not from the rules in ``secrets.toml``. docs/numbers.md has the result.
"""

from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path

import pytest

from imagelab.core.redact import mask

SEED = 17
REPEATS = 4
RECALL, FALSE_ALARMS = 0.97, 0.02
PAGE = Path(__file__).parents[2] / "docs" / "numbers.md"

_random = random.Random(SEED)
_HEX, _UPPER, _LOWER = (
    "0123456789abcdef",
    string.ascii_uppercase + string.digits,
    string.ascii_lowercase + string.digits,
)
_MIXED = string.ascii_letters + string.digits


def characters(alphabet, count):
    """``count`` random characters, with a digit and a letter among them."""
    return "".join(_random.choices(alphabet, k=count - 2)) + "7" + _random.choice(alphabet.strip(string.digits) or "a")


def password():
    """A password as people choose them: words, digits and punctuation that a shell needs no quotes for."""
    word = _random.choice(["Sommer", "letmein", "Dragon", "hunter", "Pa55", "qwerty", "Monday", "zebra"])
    return f"{word}{_random.choice('-_.+,%@^')}{_random.randrange(10, 99999)}{_random.choice(['', 'x', '!', 'Q'])}"


def uuid():
    return "-".join(characters(_HEX, count) for count in (8, 4, 4, 4, 12))


def encoded(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


#: Issuers' forms of tokens. The prefix is written apart, so that no complete token stands in this file.
TOKENS = [
    lambda: "gh" + "p_" + characters(_MIXED, 36),
    lambda: "github" + "_pat_" + characters(_MIXED, 22) + "_" + characters(_MIXED, 59),
    lambda: "gl" + "pat-" + characters(_MIXED, 20),
    lambda: "gl" + "rt-" + characters(_MIXED, 20),
    lambda: "AK" + "IA" + characters(string.ascii_uppercase + "234567", 16),
    lambda: "LT" + "AI" + characters(_MIXED, 20),
    lambda: (
        "xox" + f"b-{_random.randrange(10**11, 10**12)}-{_random.randrange(10**11, 10**12)}-{characters(_MIXED, 24)}"
    ),
    lambda: (
        "https://hooks.slack"
        + f".com/services/T{characters(_UPPER, 8)}/B{characters(_UPPER, 8)}/{characters(_MIXED, 24)}"
    ),
    lambda: "sk_" + "live_" + characters(_MIXED, 24),
    lambda: "AI" + "za" + characters(_MIXED, 35),
    lambda: "np" + "m_" + characters(_MIXED, 36),
    lambda: "py" + "pi-AgEIcHlwaS5vcmc" + characters(_MIXED, 80),
    lambda: "dckr" + "_pat_" + characters(_MIXED, 27),
    lambda: "h" + "f_" + characters(string.ascii_letters, 34),
    lambda: "S" + "G." + characters(_MIXED, 22) + "." + characters(_MIXED, 43),
    lambda: "dop" + "_v1_" + characters(_HEX, 64),
    lambda: "shp" + "at_" + characters(_HEX, 32),
    lambda: "hv" + "s." + characters(_MIXED, 95),
    lambda: "dap" + "i" + characters(_HEX, 32),
    lambda: "ops" + "_eyJ" + characters(_MIXED, 260),
    lambda: (
        "A3" + f"-{characters(_UPPER, 6)}-{characters(_UPPER, 11)}-" + "-".join(characters(_UPPER, 5) for _ in "123")
    ),
    lambda: "nt" + f"n_{_random.randrange(10**10, 10**11)}{characters(_MIXED, 35)}",
    lambda: "ppl" + "x-" + characters(_MIXED, 48),
    lambda: "pu" + "l-" + characters(_HEX, 40),
    lambda: "rubygems" + "_" + characters(_HEX, 48),
    lambda: "xkeysib" + f"-{characters(_HEX, 64)}-{characters(_MIXED, 16)}",
    lambda: "dt0" + f"c01.{characters(_UPPER, 24)}.{characters(_UPPER, 64)}",
    lambda: "AK" + "Cp" + characters(_MIXED, 69),
    lambda: "fo" + "1_" + characters(_MIXED, 43),
    lambda: "HR" + "KU-AA" + characters(_MIXED, 58),
    lambda: "PM" + f"AK-{characters(_HEX, 24)}-{characters(_HEX, 34)}",
    lambda: "CLO" + "JARS_" + characters(_LOWER, 60),
    lambda: "sha" + "256~" + characters(_MIXED, 43),
    lambda: "sq" + "0atp-" + characters(_MIXED, 22),
    lambda: "gl" + "sa_" + characters(_MIXED, 32) + "_" + characters(_HEX, 8),
    lambda: "EZ" + "AK" + characters(_MIXED, 54),
    lambda: "key" + "-" + characters(_HEX, 32),
    lambda: "sgp" + "_" + characters(_HEX, 40),
    lambda: "sk-" + "ant-api03-" + characters(_MIXED, 93) + "AA",
    lambda: "sk-" + "proj-" + characters(_MIXED, 74) + "T3BlbkFJ" + characters(_MIXED, 74),
    lambda: ".".join(
        encoded(part).rstrip("=") for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": uuid()}, uuid())
    ).replace("+", "-"),
]

#: A secret's place, with ``{}`` where the secret stands.
PLACES = [
    "ENV DBPWD={}",
    "ENV SEED_PHRASE={}",
    "ENV APP_MNEMONIC={}",
    "ENV SMTPPASS={}",
    "ENV DBPASSWD={} MODE=x",
    "ENV WALLET_SEED={}",
    "ENV RABBITMQ_DEFAULT_PASS={}",
    "ENV SECRET_KEY_BASE={}",
    "ENV APP_ENCRYPTIONKEY={}",
    "ENV REDISCLI_AUTH={}",
    "ENV DATABASE_URL=mysql://app:{}@db/app",
    "ENV SPRING_DATASOURCE_PASSWORD={}",
    "ENV ConnectionStrings__Main=Server=db;Uid=app;Pwd={};",
    "ENV MAIL_PW={}",
    "ENV AUTHTOKEN={}",
    "ENV PRIVATE_TOKEN={}",
    "ARG ARTIFACTORY_APIKEY={}",
    "ARG SSH_PASSPHRASE={}",
    "|2 SIGNING_PASSWORD={} CHANNEL=beta /bin/sh -c make # buildkit",
    "RUN /bin/sh -c composer config --global http-basic.repo.example.com deploy {}",
    "RUN composer config -g github-oauth.github.com {}",
    "RUN composer config gitlab-token.gitlab.example.com {}",
    "RUN composer config bearer.repo.example.com {}",
    "RUN poetry config http-basic.internal deploy {}",
    "RUN poetry config pypi-token.internal {}",
    "RUN poetry publish --build -u deploy -p {}",
    "RUN bundle config set --global gems.example.com deploy:{}",
    "RUN bundle config https://gems.example.com deploy:{}",
    "RUN bundle config --local enterprise.example.com {}",
    "RUN useradd -m -p {} app",
    "RUN useradd --password {} app",
    "RUN usermod -p '{}' app",
    "RUN lftp -u deploy,{} ftp.example.com -e 'mirror; quit'",
    "RUN lftp -e 'open -u deploy,{} ftp.example.com; ls'",
    "RUN ldapsearch -x -D cn=admin,dc=example -w {} -b dc=example",
    "RUN ldapadd -x -w {} -f base.ldif",
    "RUN mongosh --host db -u admin -p {} --eval 'db.stats()'",
    "RUN mongodump -u admin -p{} --out /dump",
    "RUN mongo admin -u root -p '{}'",
    "RUN smbclient //server/share -U deploy%{} -c 'get x'",
    "RUN smbclient //server/share {} -U deploy",
    "RUN rpcclient -U 'DOMAIN/deploy%{}' server",
    "RUN openssl enc -d -aes-256-cbc -in a.enc -out a -k {}",
    "RUN openssl enc -d -aes-256-cbc -pass pass:{} -in a.enc",
    "RUN openssl pkcs12 -in k.p12 -passin pass:{} -nodes",
    "RUN openssl passwd -6 {}",
    "RUN unzip -P {} secret.zip -d /opt",
    "RUN unzip -qqP {} secret.zip",
    "RUN 7z x -p{} data.7z",
    "RUN zip -r -P {} out.zip dir",
    "RUN unrar x -p{} data.rar",
    "RUN gpg --batch --yes --passphrase {} -d a.gpg",
    "RUN kubectl create secret generic db --from-literal=password={}",
    "RUN kubectl create secret generic db --from-literal=value={} --dry-run=client",
    "RUN kubectl create secret generic db --from-literal dsn={}",
    "RUN kubectl create secret docker-registry r --docker-username=me --docker-password={}",
    "RUN oc create secret generic db --from-literal=pin={}",
    "RUN kubectl config set-credentials me --token={}",
    "RUN docker login -u me -p {} registry.example.com",
    "RUN podman login --username me --password={} registry.example.com",
    "RUN helm registry login -u me -p {} registry.example.com",
    "RUN crane auth login registry.example.com -u me -p {}",
    "RUN psql 'host=db user=app password={}'",
    "RUN PGPASSWORD={} psql -h db",
    "RUN sqlcmd -S db -U sa -P {} -Q 'select 1'",
    "RUN sqlplus system/{}@//db/XE @x.sql",
    "RUN cqlsh -u cassandra -p {} -e 'x'",
    "RUN mysqladmin -u root password {}",
    "RUN mysqldump -uroot -p{} app > x.sql",
    "RUN mariadb -u root -p'{}' -e 'show tables'",
    "RUN mysql --user=root --password={} app",
    "RUN redis-cli -h db -a {} ping",
    "RUN redis-cli --pass {} ping",
    "RUN redis-server --requirepass {}",
    "RUN mosquitto_pub -u dev -P {} -t x -m y",
    "RUN rabbitmqctl add_user app {}",
    "RUN rabbitmqctl change_password app {}",
    "RUN mc alias set store https://s3.example.com minio {}",
    "RUN curl -fsSL --user deploy:{} https://example.com/x",
    "RUN curl -sLu deploy:{} -O https://example.com/x",
    "RUN curl -H 'PRIVATE-TOKEN: {}' https://git.example.com",
    "RUN curl -H 'X-JFrog-Art-Api: {}' https://example.com",
    "RUN curl --oauth2-bearer {} https://example.com",
    "RUN curl -x http://proxy:3128 --proxy-user me:{} https://example.com",
    'RUN curl -H "Authorization: Basic {}" https://example.com',
    "RUN wget --http-user=me --http-password={} https://example.com/x",
    "RUN wget --header='Authorization: token {}' https://example.com/x",
    "RUN http -a me:{} GET example.com",
    "RUN svn co --username me --password {} https://svn.example.com/x",
    "RUN git -c http.extraheader='Authorization: Bearer {}' clone https://git.example.com/x",
    "RUN git config --global url.https://oauth2:{}@git.example.com/.insteadOf https://git.example.com/",
    "RUN git clone https://x-access-token:{}@git.example.com/a/b.git",
    "RUN npm config set //npm.example.com/:_authToken={}",
    "RUN yarn config set npmAuthToken {}",
    "RUN echo '//npm.example.com/:_password={}' >> .npmrc",
    "RUN pip install --extra-index-url https://me:{}@pypi.example.com/simple x",
    "RUN pip config set global.index-url https://me:{}@pypi.example.com/simple",
    "RUN twine upload -u __token__ -p {} dist/*",
    "RUN cargo login {}",
    "RUN dotnet nuget add source https://nuget.example.com -n x -u me -p {} --store-password-in-clear-text",
    "RUN nuget sources add -Name x -Username me -Password {}",
    "RUN mvn -B deploy -Dserver.password={}",
    "RUN gradle build -PrepoPassword={}",
    "RUN sonar-scanner -Dsonar.login={}",
    "RUN sentry-cli --auth-token {} releases new 1",
    "RUN snyk auth {}",
    "RUN vault login {}",
    "RUN vault kv put secret/app password={}",
    "RUN ngrok config add-authtoken {}",
    "RUN tailscale up --authkey={}",
    "RUN wandb login {}",
    "RUN huggingface-cli login --token {}",
    "RUN aws configure set aws_secret_access_key {}",
    "RUN az login --service-principal -u app -p {} --tenant t",
    "RUN s3cmd --secret_key={} ls",
    "RUN rclone config create r sftp user me pass {}",
    "RUN conan user -p {} -r remote me",
    "RUN sshpass -p{} ssh host",
    "RUN sshpass -p '{}' scp x host:",
    "RUN ssh-keygen -t rsa -N {} -f /k",
    "RUN keytool -importcert -storepass {} -file x.crt",
    "RUN htpasswd -bB -c /etc/htpasswd admin {}",
    "RUN echo app:{} | chpasswd",
    "RUN chpasswd <<< 'app:{}'",
    "RUN printf 'app:{}\\n' | chpasswd",
    "RUN echo {} | passwd --stdin app",
    "RUN echo -e '{}\\n{}' | passwd app",
    "RUN echo {} | sudo -S true",
    "RUN echo {} | gh auth login --with-token",
    "RUN mount -t cifs //server/share /mnt -o username=me,password={}",
    "RUN wp core install --admin_password={}",
    "RUN wp config create --dbname=x --dbuser=y --dbpass={}",
    "RUN slappasswd -s {}",
    "RUN x11vnc -storepasswd {} /root/.vnc/passwd",
    "RUN terraform apply -var='db_password={}'",
    "RUN ansible-playbook x.yml -e ansible_become_pass={}",
    "RUN influx setup --username me --password {} --force",
    "RUN grafana-cli admin reset-admin-password {}",
    "RUN ipmitool -H host -U me -P {} power on",
    "RUN psql -c \"CREATE ROLE app LOGIN PASSWORD '{}'\"",
    "RUN mysql -e \"SET PASSWORD FOR a = PASSWORD('{}')\"",
    "RUN mysql -e \"ALTER USER root IDENTIFIED WITH mysql_native_password BY '{}'\"",
    'CMD ["mongosh", "-u", "admin", "-p", "{}"]',
    'CMD ["redis-server", "--requirepass", "{}"]',
    'ENTRYPOINT ["smbclient", "-U", "deploy%{}", "//server/share"]',
    '{{"username": "me", "password": "{}"}}',
    "spring.datasource.password={}",
    "  db_password: '{}'",
    "apiKey: {}",
    "#9 [3/7] RUN curl -u deploy:{} https://example.com",
    "#9 0.412 + export GITHUB_TOKEN={}",
    "Step 4/9 : RUN composer config http-basic.repo.example.com deploy {}",
    "ENV CLOUD_TOKEN {}==",
    "ENV EVENTHUB_SAS_KEY={}",
    "ENV SERVICE_ROLE_KEY={}",
    "ENV BASIC_AUTH=deploy:{}",
    "ENV RABBITMQ_ERLANG_COOKIE={}",
    "ENV ODBC='Driver=x;Server=db;UID=sa;PWD={}'",
    '      - "DB_PASSWORD={}&|<(9"',
    "RUN lftp -u deploy,'{}' ftp.example.com",
    "RUN kubectl create secret generic db --from-literal=value='{}'",
    "RUN redis-cli -a '-{}' ping",
    "RUN (echo {}; echo {}) | passwd app",
    "RUN echo {} | docker secret create db -",
    "RUN echo -n {} > /run/app/db_password",
    "RUN rsync --password-file=<(echo {}) a b",
    'RUN printf "API_TOKEN=%s\\n" {} > .env',
    "RUN vault write auth/approle/login role_id=app secret_id={}",
    "RUN jboss-cli.sh -u=admin -p={} :reload",
    "RUN etcdctl --user root:{} get x",
    "RUN java -jar jenkins-cli.jar -s https://ci.example.com -auth me:{} build",
    "RUN net use x: {} /user:me",
    "RUN xfreerdp /u:me /p:{} /v:host",
    "RUN cvs -d :pserver:me:{}@host:/repo checkout x",
    "RUN influx config create -t {} -n x",
    "RUN yarn config set 'npmRegistries[\"https://npm.example.com\"].npmAuthToken' {}",
    "RUN setx DB_PASSWORD {}",
    "RUN yq -i '.db.password = \"{}\"' x.yml",
    "RUN ConvertTo-SecureString '{}' -AsPlainText -Force",
    'RUN mongo --eval \'db.createUser({{user: "app", pwd:"{}"}})\'',
    '<add key="ApiKey" value="{}" />',
    "define('DB_PASSWORD', '{}');",
    "'password' => '{}',",
    "os.environ['API_KEY'] = '{}'",
    'const apiKey: string = "{}";',
    "    args: {{NPM_TOKEN: {}}}",
]

#: Build arguments that BuildKit writes out in the name of a step.
EXPANDED = ["#8 [2/5] RUN ./install.sh {}", "#8 [build 2/5] RUN make login {} && make", "#8 [2/5] RUN fetch --with {}"]

#: JSON in base64, as registries and clouds give it out.
DOCUMENTS = [
    lambda: {"auths": {"registry.example.com": {"auth": characters(_MIXED, 24)}}},
    lambda: {
        "type": "service_account",
        "project_id": "app-prod",
        "private_key": f"-----BEGIN {'PRIVATE'} KEY-----\n{characters(_MIXED, 64)}\n-----END {'PRIVATE'} KEY-----\n",
    },
    lambda: {"username": "deploy", "password": password()},
]
DOCUMENT_PLACES = [
    "ENV DOCKER_CONFIG_B64={}",
    "RUN echo {} | base64 -d > /root/.docker/config.json",
    "ARG GCP_ACCOUNT={}",
    "ENV DATA={}",
]

#: Values that are public, or say nothing; ``{hex}`` and the like are filled with random characters.
HARMLESS = [
    "ENV STRIPE_PUBLISHABLE_KEY=pk_live_{mixed24}",
    "ENV RECAPTCHA_SITE_KEY=6L{mixed38}",
    "ENV HCAPTCHA_SITEKEY={uuid}",
    "ENV PUBLIC_KEY={mixed40}",
    "ENV SSH_PUBLIC_KEY=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{mixed40}",
    "ENV VAPID_PUBLIC_KEY=B{mixed80}",
    "ENV MINISIGN_KEY=RW{mixed54}",
    "ENV COSIGN_PUBLIC_KEY=/etc/cosign.pub",
    "ENV NEXT_PUBLIC_POSTHOG_KEY=phc_{mixed40}",
    "ENV GPG_KEYS={HEX40}",
    "ENV NODE_RELEASE_KEY={HEX40}",
    "ENV APT_KEY_FINGERPRINT={HEX40}",
    "ENV KMS_KEY_ARN=arn:aws:kms:eu-west-1:123456789012:key/{uuid}",
    "ENV SECRET_ARN=arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-{mixed8}",
    "ENV AWS_SECRET_NAME=prod/app/database",
    "ENV KEY_VAULT_NAME=kv-prod-westeurope-01",
    "ENV KMS_KEY_ID={uuid}",
    "ENV AWS_ACCESS_KEY_ID_FILE=/run/secrets/id",
    "ENV CACHE_KEY=v1-npm-linux-{hex32}",
    "ENV CACHE_KEY_PREFIX=deps-2026",
    "ENV RAILS_CACHE_KEY={mixed24}",
    "ENV SORT_KEY=created_at",
    "ENV PARTITION_KEY=tenant_id",
    "ENV PRIMARY_KEY=id",
    "ENV FOREIGN_KEY_CHECKS=0",
    "ENV HOTKEY=ctrl+shift+p",
    "ENV AUTH0_AUDIENCE=https://api.example.com/",
    "ENV TOKEN_AUDIENCE=api.example.com",
    "ENV JWT_AUDIENCE=internal-services",
    "ENV JWT_ISSUER=auth.example.com",
    "ENV JWT_ALGORITHM=RS256",
    "ENV OAUTH_TOKEN_ENDPOINT=/oauth2/token",
    "ENV TOKEN_TYPE=bearer",
    "ENV SESSION_COOKIE_NAME=sid",
    "ENV SESSION_COOKIE_SECURE=true",
    "ENV SESSION_DRIVER=redis",
    "ENV FEATURE_PASSWORD_RESET=enabled",
    "ENV FEATURE_TOKEN_REFRESH=beta",
    "ENV ENABLE_SECRET_SCANNING=1",
    "ENV PASSWORD_LOGIN_ENABLED=false",
    "ENV PASSWORD_MIN_LENGTH=12",
    "ENV PASSWORD_HASHER=argon2id",
    "ENV PASSWORD_POLICY=strong",
    "ENV PASSWORDLESS=email",
    "ENV SECRETS_DIR=/run/secrets",
    "ENV SECRETS_BACKEND=vault",
    "ENV SECRET_STORE=aws-secrets-manager",
    "ENV CREDENTIALS_PROVIDER=instance-profile",
    "ENV GOOGLE_APPLICATION_CREDENTIALS=/var/run/gcp.json",
    "ENV GIT_CREDENTIAL_HELPER=store",
    "ENV TOKENIZER=cl100k_base",
    "ENV TOKENIZER_MODEL=gpt2-medium",
    "ENV MAX_TOKENS=8192",
    "ENV TOKENS_PER_MINUTE=90000",
    "ENV CONTEXT_TOKENS=128000",
    "ENV LICENSE=Apache-2.0",
    "ENV LICENSE_KEY_URL=https://example.com/license",
    "ENV ACCEPT_EULA=Y",
    "LABEL org.opencontainers.image.licenses=GPL-3.0-only",
    "LABEL license=LGPL-2.1-or-later",
    "LABEL com.example.build.key=nightly",
    "LABEL org.opencontainers.image.revision={hex40}",
    "LABEL org.opencontainers.image.base.digest=sha256:{hex64}",
    "LABEL io.buildkit.cache-key=sha256:{hex64}",
    "LABEL maintainer=security-team@example.com",
    "ENV OPENSSL_VERSION=3.0.13-1~deb12u1",
    "ENV PASSWD_VERSION=1:4.13+dfsg1-1",
    "ENV LIBSECRET_VERSION=0.20.5-3",
    "ENV GNUPG_SHA512={hex128}",
    "ENV PASSENGER_VERSION=6.0.20",
    "ENV COMPASS_MODE=north",
    "ENV BYPASS_CACHE=yes",
    "ENV PASSTHROUGH=all",
    "ENV KEYCLOAK_REALM=master",
    "ENV KEYBOARD_LAYOUT=us-intl",
    "ENV MONKEY_PATCH=gevent",
    "ENV TURKEY_REGION=eu-south",
    "ENV AUTHOR=jane.doe",
    "ENV AUTHORITY_URL=https://login.example.com",
    "ENV AUTH_MODE=ldap",
    "ENV OLDPWD=/srv",
    "ENV SALT_VERSION=3006.5",
    "ENV SEEDS=10.0.0.1,10.0.0.2",
    "ENV CASSANDRA_SEEDS=cassandra-0.cassandra",
    "ENV RANDOM_SEED=42",
    "ENV PYTHONHASHSEED=0",
    "ENV SEED_DATA=fixtures",
    "ENV PINNED=1.2.3",
    "ENV PIN_VERSION=2024.1",
    "ENV SPRING_PROFILES_ACTIVE=token,jwt",
    "ENV DB_PASSWORD_FILE=/run/secrets/db",
    "ENV API_KEY=${{API_KEY}}",
    "ENV API_TOKEN=$TOKEN",
    "ENV GITHUB_TOKEN_PERMISSIONS=read",
    "ENV GA_MEASUREMENT_ID=G-{UPPER10}",
    "ENV FIREBASE_APP_ID=1:123456789012:web:{hex20}",
    "ENV OAUTH_CLIENT_ID={uuid}",
    "ENV AZURE_TENANT_ID={uuid}",
    "ENV ALGOLIA_APP_ID={UPPER10}",
    "RUN apt-get install -y libsecret-1-0=0.20.5-3 libsecret-common=0.20.5-3",
    "RUN apt-get install -y passwd=1:4.13+dfsg1-1+b1 pass=1.7.4-6",
    "RUN apt-get install -y gnome-keyring=42.1-1+b2 python3-secretstorage=3.3.3-1",
    "RUN apk add --no-cache libsecret=0.21.1-r0 keyutils=1.6.3-r3",
    "RUN pip install tokenizers==0.15.2 secretstorage==3.3.3 keyring==24.3.0 passlib==1.7.4",
    "RUN npm install js-tokens@4.0.0 passport@0.7.0 keyv@4.5.4",
    "RUN gem install omniauth-oauth2:1.8.0 jwt:2.7.1",
    "RUN go install github.com/99designs/aws-vault/v7@v7.2.0",
    "RUN curl -fsSL https://example.com/key.gpg | gpg --dearmor -o /usr/share/keyrings/x.gpg",
    "RUN gpg --batch --keyserver keys.example.com --recv-keys {HEX40}",
    "RUN apt-key adv --keyserver keyserver.example.com --recv-keys {HEX16}",
    "RUN echo '{hex64}  file.tgz' | sha256sum -c -",
    "RUN wget -O key.pub https://example.com/{hex40}/key.pub",
    "ADD --checksum=sha256:{hex64} https://example.com/x.tgz /x.tgz",
    "RUN useradd -r -u 10001 -g app -d /app -s /sbin/nologin app",
    "RUN adduser -D -H -u 1000 app",
    "RUN useradd --system --no-create-home --password '!' app",
    "RUN unzip -q -o awscliv2.zip -d /opt",
    "RUN mkdir -p /var/lib/mysql && chown mysql:mysql /var/lib/mysql",
    "RUN mysql --protocol=tcp -P 3307 -h db -e 'select 1'",
    "RUN psql -h db -p 5432 -U app -c 'select 1'",
    "RUN ssh -p 2222 me@host uptime",
    "RUN scp -P 2222 x me@host:/tmp",
    "RUN docker run -p 8080:80 -u 1000:1000 nginx",
    "RUN cp -p a b && tar -xpf x.tar",
    "RUN mkdir -p /root/.ssh && ssh-keyscan github.com >> /root/.ssh/known_hosts",
    "RUN ssh-keygen -A",
    "RUN openssl req -x509 -newkey rsa:4096 -keyout key.pem -out cert.pem -nodes -subj /CN=localhost",
    "RUN openssl dgst -sha256 -verify pub.pem -signature x.sig x",
    "RUN openssl enc -aes-256-cbc -kfile /run/secrets/k -in a -out b",
    "RUN kubectl create configmap app --from-literal=mode=prod",
    "RUN kubectl get secret db-credentials -o yaml",
    "RUN kubectl create secret generic db --from-file=/run/secrets/db",
    "RUN helm upgrade app ./chart --set secretName=app-tls",
    "RUN composer config platform.php 8.2.0",
    "RUN composer config --no-plugins allow-plugins.symfony/flex true",
    "RUN poetry config virtualenvs.create false",
    "RUN poetry config repositories.internal https://pypi.example.com/simple",
    "RUN bundle config set --local without development:test",
    "RUN bundle config set deployment true",
    "RUN bundle config build.nokogiri --use-system-libraries",
    "RUN git config --global user.name build-bot",
    "RUN git config --global credential.helper store",
    "RUN npm config set fetch-retry-maxtimeout 120000",
    "RUN npm config set @scope:registry https://npm.example.com",
    "RUN pip config set global.trusted-host pypi.example.com",
    "RUN aws configure set region eu-west-1",
    "RUN --mount=type=secret,id=api_token,required=true make",
    "RUN --mount=type=ssh git clone git@github.com:a/b.git",
    "RUN --mount=type=cache,id=token-cache,target=/root/.cache make",
    "RUN PASSWORD=$(cat /run/secrets/p) ./setup.sh",
    'RUN if [ -z "$API_KEY" ]; then echo "API_KEY missing"; exit 1; fi',
    "RUN grep -q password /etc/pam.d/common-password",
    "RUN sed -i 's/^PermitRootLogin.*/PermitRootLogin prohibit-password/' /etc/ssh/sshd_config",
    "RUN echo 'PasswordAuthentication no' >> /etc/ssh/sshd_config",
    "RUN sed -i 's/nullok_secure/nullok/' /etc/pam.d/common-auth",
    "RUN passwd -l root",
    "RUN passwd -d app",
    "RUN cat /etc/passwd | cut -d: -f1",
    "RUN echo 'app:x:1000:1000::/app:/bin/sh' >> /etc/passwd",
    "RUN python manage.py collectstatic --noinput --settings=app.settings.secrets",
    "RUN php artisan key:generate",
    "RUN rake secret",
    "RUN ./gradlew :token-service:build",
    "RUN go test ./internal/token/... -run TestPassword",
    "RUN make test PASSWORD_TESTS=skip",
    "RUN docker build --secret id=npm,env=NPM_TOKEN .",
    'CMD ["node", "dist/token-service.js"]',
    'CMD ["gunicorn", "--keyfile", "/tls/key.pem", "--certfile", "/tls/cert.pem"]',
    'CMD ["nginx", "-g", "daemon off;"]',
    'ENTRYPOINT ["/usr/bin/tini", "--", "auth-server", "--auth-mode", "oidc"]',
    "HEALTHCHECK CMD curl -f http://localhost:8080/token/health",
    "COPY --chown=app:app secrets.example.yml /app/config/secrets.yml",
    "COPY keys/public.pem /etc/keys/",
    "EXPOSE 8443/tcp",
    "VOLUME /var/lib/vault",
    "#8 [2/5] RUN ./configure --prefix=/usr/local --with-openssl=/usr/lib/ssl",
    "#8 [2/5] RUN git checkout {hex40} && make",
    "#8 [2/5] RUN npm ci --cache /root/.npm/_cacache-{hex32}",
    "#8 [2/5] RUN wget https://example.com/build-{hex12}/tool_2.14.0_linux_amd64.tar.gz",
    "#8 [2/5] RUN apt-get install -y libstdc++6=12.2.0-14+deb12u1 ca-certificates=20230311",
    "#8 [2/5] COPY --from=build /go/pkg/mod/github.com/Masterminds/semver@v1.5.0 /x",
    "#8 [2/5] RUN make BUILD_ID=20260722.1 TARGETPLATFORM=linux/arm64",
    "#9 exporting manifest sha256:{hex64} done",
    "#9 12.31 error: invalid token: unexpected end of input",
    "#9 0.51 Password authentication is disabled.",
    "integrity sha512-{mixed86}==",
    '"integrity": "sha256-{mixed43}="',
    "golang.org/x/crypto v0.17.0 h1:{mixed43}=",
    "uses: actions/cache@{hex40}",
    "key: ${{{{ runner.os }}}}-node-${{{{ hashFiles('package-lock.json') }}}}",
    '"csrf_token_name": "_csrf"',
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software",
    "THE SOFTWARE IS PROVIDED AS IS, WITHOUT WARRANTY OF ANY KIND; see the key: value pairs below",
    "License key terms: redistribution and use in source and binary forms are permitted",
    "ENV IMAGE_ID=sha256:{hex64}",
    "ENV BASE64_LOGO=iVBORw0KGgoAAAANSUhEUgAA{mixed40}",
    "ENV CONFIG_B64={harmless_json}",
    "ENV APP_NAME=TokenService",
    "ENV SWAP_SPACE=2G",
    "ENV PASS_THROUGH_ENV=HOME",
    "ENV SITE_SECRET_PATH=/etc/site",
    "ENV SSL_KEY_FILE=/tls/tls.key",
    "ENV SSH_AUTH_SOCK=/run/ssh.sock",
    "ENV XAUTHORITY=/root/.Xauthority",
    "ENV DOCKER_CONTENT_TRUST=1",
    "ENV PASSWORD_ENCRYPTION=scram-sha-256",
    "ENV PASSWORD_PROMPT='Enter password:'",
    "ENV SECRET_SCAN=gitleaks",
    "ENV IMAGE_PULL_SECRET=regcred",
    "ENV DB_PASSWORD=__DB_PASSWORD__",
    "ENV DB_SECRET_ARN=arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-{uuid}",
    "ENV PWD=/srv OLDPWD=/",
    "ENV NEO4J_AUTH=none",
    "ENV DEPLOY_KEY_FINGERPRINT={HEX40}",
    "RUN echo '%wheel ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/wheel",
    "RUN echo 'app:x:1000:1000::/app:/bin/sh' > /etc/passwd",
    "RUN openssl passwd -6 -stdin < /run/secrets/p",
    "usage: app [--token TOKEN] [--password PASSWORD]",
    "  --password string   Password for the registry",
]


def harmless_value(template):
    """The template with random characters of the kinds and lengths that it names."""
    kinds = {"mixed": _MIXED, "hex": _HEX, "HEX": _HEX.upper(), "UPPER": _UPPER}
    fields = {
        f"{kind}{count}": characters(alphabet, count)
        for kind, alphabet in kinds.items()
        for count in (8, 10, 12, 16, 20, 24, 32, 38, 40, 43, 54, 64, 80, 86, 128)
    }
    theme = encoded({"theme": "dark", "lang": "en", "size": 12})
    return template.format(uuid=uuid(), harmless_json=theme, **fields)


def planted():
    """(text, secret) of every shape, ``REPEATS`` times, with secrets of different kinds."""
    for _ in range(REPEATS):
        for make in TOKENS:
            token = make()
            place = _random.choice(["RUN ./deploy {}", "ENV X={}", "#8 [2/5] RUN tool --with {} run", '{{"x": "{}"}}'])
            yield place.format(token), token
        for template in PLACES:
            secret = _random.choice([password, lambda: characters(_MIXED, 20), lambda: characters(_HEX, 32), uuid])()
            yield template.replace("{{", "{").replace("}}", "}").replace("{}", secret), secret
        for template in EXPANDED:
            secret = characters(_MIXED, 28)
            yield template.format(secret), secret
        for template in DOCUMENT_PLACES:
            secret = encoded(_random.choice(DOCUMENTS)())
            yield template.format(secret), secret


@pytest.fixture(scope="module")
def measured():
    """The secrets, the texts whose secret stayed, the harmless values, and those of them that were changed."""
    secrets, values = list(planted()), [harmless_value(text) for _ in range(REPEATS) for text in HARMLESS]
    missed = [text for text, secret in secrets if secret in mask(text).text]
    alarms = [text for text in values if mask(text).kinds]
    return secrets, missed, values, alarms


def test_recall(measured):
    secrets, missed, _, _ = measured
    assert len(missed) <= (1 - RECALL) * len(secrets), "\n".join(missed)


def test_false_alarms(measured):
    _, _, values, alarms = measured
    assert len(alarms) <= FALSE_ALARMS * len(values), "\n".join(alarms)


def test_the_published_numbers_are_the_measured_ones(measured):
    secrets, missed, values, alarms = measured
    recall, false_alarms = 100 * (1 - len(missed) / len(secrets)), 100 * len(alarms) / len(values)
    published = f"| {len(secrets):,} | {recall:.1f} % | {len(values):,} | {false_alarms:.1f} % |"
    assert published in PAGE.read_text("utf-8"), published
